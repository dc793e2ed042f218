"""Remove from a virtual environment what no run reads, before its bytecode is compiled: `python3 slim.py VENV`.

The metadata of the packages stay, so pip and the lists of the software see what is installed. A pattern that matches nothing in an
installed package is an error: a new version moved the files. docs/decisions/0012-images.md has the sizes and how the lists were found.
"""

import shutil
import subprocess
import sys
from pathlib import Path

# Folders below site-packages.
UNREAD = (
    # Headers for those who compile operations for TensorFlow.
    "tensorflow/include",
    # A parser of C++ that TensorFlow requires and never loads.
    "clang/native",
    # Tokenizers inside of TensorFlow's graphs. KerasHub goes on without it, and ours is another library.
    "tensorflow_text",
    # TensorFlow requires gRPC for Python, for its profiler. HF's Xet downloads models.
    "grpc",
    "hf_xet",
)
# Of NVIDIA's packages only these files stay. TensorFlow's loader opens cudart, cuBLAS, cuFFT, cuSOLVER, cuSPARSE and cuDNN, or registers
# no GPU. The others are read by them: cuSOLVER and cuSPARSE link nvJitLink, cuDNN opens its seven parts and NVRTC by name, and
# TensorFlow starts ptxas. CTranslate2 opens cuBLAS.
KEPT_OF_NVIDIA = (
    "cublas/lib/libcublas.so.*",
    "cublas/lib/libcublasLt.so.*",
    "cuda_nvcc/bin/ptxas",
    "cuda_nvcc/nvvm/libdevice/libdevice.10.bc",
    "cuda_nvrtc/lib/libnvrtc.so.*",
    "cuda_nvrtc/lib/libnvrtc-builtins.so.*",
    "cuda_runtime/lib/libcudart.so.*",
    "cudnn/lib/libcudnn.so.*",
    "cudnn/lib/libcudnn_*.so.*",
    "cufft/lib/libcufft.so.*",
    "cusolver/lib/libcusolver.so.*",
    "cusparse/lib/libcusparse.so.*",
    "nvjitlink/lib/libnvJitLink.so.*",
)
# Their tables of symbols are for debuggers: a third of a gigabyte.
STRIPPED = ("tensorflow", "ctranslate2")


def slim(packages: Path) -> None:
    """Remove and strip below `packages`, a folder site-packages. Raises FileNotFoundError for a pattern without a match."""
    for find in (unread, tests):
        for path in find(packages):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    libraries = [path for name in STRIPPED for path in sorted((packages / name).rglob("*.so*"))]
    if libraries:
        subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)


def unread(packages: Path) -> list[Path]:
    """Files and folders of the installed packages that no run reads."""
    found = [packages / name for name in UNREAD if (packages / name.partition("/")[0]).is_dir()]
    nvidia = packages / "nvidia"
    if nvidia.is_dir():
        kept = {path for pattern in KEPT_OF_NVIDIA for path in _matches(nvidia, pattern)}
        found += [path for path in sorted(nvidia.rglob("*")) if path.is_file() and path not in kept and path.name != "__init__.py"]
    if missing := [path for path in found if not path.exists()]:
        raise _moved(missing[0])
    return found


def tests(packages: Path) -> list[Path]:
    """The folders with tests of the packages themselves. None is below another."""
    return [path for path in sorted(packages.rglob("tests")) if "tests" not in path.relative_to(packages).parts[:-1]]


def _matches(folder: Path, pattern: str) -> list[Path]:
    if found := sorted(folder.glob(pattern)):
        return found
    raise _moved(folder / pattern)


def _moved(path: Path) -> FileNotFoundError:
    return FileNotFoundError(f"{path} is missing: look where a new version has these files, and change images/slim.py")


if __name__ == "__main__":
    for site_packages in Path(sys.argv[1], "lib").glob("python3.*/site-packages"):
        slim(site_packages)
