"""The command line and the environment of a stage: the variables of its libraries and devices, none of a database or a service."""

import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from gregory.ml import resources

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
_CREDENTIAL = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|^TF_VAR_|^TF_CLI_")
DEVICES, GPU_DEVICES = Path("/dev"), ("nvidia*", "kfd", "dxg")
_FIXED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
}


def stage_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a stage, from that of the run. A value of the operator comes before a default."""
    return {**_defaults(), **{name: value for name, value in inherited.items() if is_passed_on(name)}, **_FIXED}


def worker_command(stage: str, folder: Path) -> list[str]:
    """The command line of the worker process of a stage."""
    return [sys.executable, "-m", "gregory.ml.stages", stage, "--in", str(folder / "in"), "--out", str(folder / "out"), "--lifeline"]


def preloaded(algorithms: Collection[str]) -> tuple[str, ...]:
    """What a fork server loads before it forks the trainings of these algorithms, except the libraries of networks."""
    module = "gregory.ml.stages.libraries"
    return (f"{module}:load", "lgbm_tfidf") if "lgbm_tfidf" in algorithms else (f"{module}:load_shared",)


def network(algorithm: str) -> tuple[str, ...]:
    """What the fork server of the networks loads. Empty for another algorithm."""
    return () if algorithm in ("", "lgbm_tfidf") else ("gregory.ml.stages.libraries:load", algorithm)


def has_gpu() -> bool:
    """Whether this machine seems to have a GPU. No library of one is loaded to find out."""
    return any(any(DEVICES.glob(pattern)) for pattern in GPU_DEVICES)


def stage_threads(most: str) -> int:
    """The threads of a stage. most: OMP_NUM_THREADS, whose first number is the limit of the operator."""
    return min(resources.cpu_count(), int(most.partition(",")[0] or sys.maxsize))


def is_passed_on(name: str) -> bool:
    """Whether a stage gets a variable of the run."""
    return name in NAMES or (name.startswith(PREFIXES) and not _CREDENTIAL.search(name))


def _defaults() -> dict[str, str]:
    return {
        **dict([resources.WAIT_POLICY]),
        # Trainers give their own numbers to their libraries.
        "OMP_NUM_THREADS": str(resources.cpu_count()),
        # With more, the import of NumPy starts a thread, and a process with threads cannot be forked.
        "OPENBLAS_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
