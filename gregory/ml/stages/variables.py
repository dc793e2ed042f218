"""The names of the variables that a stage gets: those of its libraries and devices, none of a database or a service."""

# Programs, files and languages.
NAMES = frozenset(
    (
        "PATH",
        "HOME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "PYTHONPATH",
        "PYTHONFAULTHANDLER",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "MPLCONFIGDIR",
        "XDG_CACHE_HOME",
        "TOKENIZERS_PARALLELISM",
        "RAYON_NUM_THREADS",
    )
)
# Operators select devices, threads, memory and locking with the variables of these libraries.
PREFIXES = (
    *("CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "NCCL_"),
    *("HIP_", "HSA_", "ROCR_", "ROCM_", "ROCBLAS_", "MIOPEN_", "GPU_"),
    *("TF_", "XLA_", "KERAS_", "CT2_", "ONEDNN_", "DNNL_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "LOKY_"),
    *("HDF5_", "MALLOC_", "GLIBC_TUNABLES", "LC_"),
)
# Keys of the services of the same makers, and the variables of Terraform, which have a prefix of TensorFlow.
_CREDENTIALS = ("KEY", "TOKEN", "SECRET", "PASSW", "CREDENTIAL")
_OF_TERRAFORM = ("TF_VAR_", "TF_CLI_")


def is_passed_on(name: str) -> bool:
    """Whether a stage gets a variable of the run."""
    if name in NAMES:
        return True
    return name.startswith(PREFIXES) and not name.startswith(_OF_TERRAFORM) and not any(word in name for word in _CREDENTIALS)
