"""What a slim environment lacks, and the check that its build makes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from images import check, slim
from tests.strict import need

KEPT = (
    "nvidia/cublas/lib/libcublas.so.12",
    "nvidia/cublas/lib/libcublasLt.so.12",
    "nvidia/cuda_nvcc/bin/ptxas",
    "nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc",
    "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.5",
    "nvidia/cuda_nvrtc/lib/libnvrtc.so.12",
    "nvidia/cuda_runtime/__init__.py",
    "nvidia/cuda_runtime/lib/libcudart.so.12",
    "nvidia/cudnn/lib/libcudnn.so.9",
    "nvidia/cudnn/lib/libcudnn_engines_precompiled.so.9",
    "nvidia/cufft/lib/libcufft.so.11",
    "nvidia/cusolver/lib/libcusolver.so.11",
    "nvidia/cusparse/lib/libcusparse.so.12",
    "nvidia/nvjitlink/lib/libnvJitLink.so.12",
    "numpy/testing/__init__.py",
    "tensorflow/__init__.py",
    "tensorflow_text-2.dist-info/METADATA",
)
REMOVED = (
    "clang/native/libclang.so",
    "grpc/__init__.py",
    "hf_xet/__init__.py",
    "numpy/linalg/tests/deeper/tests/data.bin",
    "numpy/linalg/tests/test_linalg.py",
    "nvidia/cublas/include/cublas.h",
    "nvidia/cublas/lib/libnvblas.so.12",
    "nvidia/cuda_nvcc/nvvm/lib64/libnvvm.so",
    "nvidia/cuda_runtime/lib/libcudart_static.a",
    "nvidia/cusolver/lib/libcusolverMg.so.11",
    "tensorflow/include/deep/tests/header.h",
    "tensorflow_text/__init__.py",
)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder site-packages in which each file has a kilobyte."""
    folder = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in KEPT + REMOVED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    return folder


def compiled(library: Path, *options: str | Path, source: str = "int one(void) { return 1; }") -> None:
    need(shutil.which("cc") is not None, what="a C compiler", remedy="as root: apt-get install gcc")
    subprocess.run(["cc", "-shared", "-o", library, *options, "-x", "c", "-"], input=source, text=True, check=True)


def files(packages: Path) -> set[str]:
    return {path.relative_to(packages).as_posix() for path in packages.rglob("*") if path.is_file()}


def test_what_no_run_reads_is_removed_and_the_metadata_stay(packages: Path) -> None:
    slim.slim(packages)

    assert files(packages) == set(KEPT)
    assert not (packages / "tensorflow_text").exists()


def test_a_library_has_no_symbols_for_debuggers_afterwards(packages: Path) -> None:
    library = packages / "tensorflow" / "libone.so"
    compiled(library, "-g", source="static int hidden(void) { return 1; }\nint shown(void) { return hidden(); }\n")
    before = library.stat().st_size

    slim.slim(packages)

    assert library.stat().st_size < before
    listed = subprocess.run(["readelf", "--syms", "--wide", library], capture_output=True, text=True, check=True).stdout
    assert (" shown" in listed, " hidden" in listed) == (True, False)


@pytest.mark.parametrize("moved", ["nvidia/cufft/lib/libcufft.so.11", "tensorflow/include/deep/tests/header.h"])
def test_a_file_that_a_new_version_moved_ends_the_build(packages: Path, moved: str) -> None:
    shutil.rmtree(packages / Path(moved).parents[-4] if moved.startswith("nvidia") else packages / "tensorflow" / "include")

    with pytest.raises(FileNotFoundError, match="look where a new version has these files"):
        slim.slim(packages)


def test_an_environment_without_tensorflow_loses_only_tests(tmp_path: Path) -> None:
    for name in ("one/__init__.py", "one/tests/test_one.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    slim.slim(tmp_path)

    assert files(tmp_path) == {"one/__init__.py"}


def test_sizes_are_those_of_packages_and_of_nvidias_parts(packages: Path) -> None:
    (packages / "nvidia" / "cufft" / "link").symlink_to("lib/libcufft.so.11")

    sizes = check.sizes(packages)

    assert (sizes["nvidia/cublas"], sizes["numpy"]) == (4000, 3000)
    assert sizes["nvidia/cufft"] == 1000 + len("lib/libcufft.so.11")
    assert check.size(packages) == sum(sizes.values()) == 1000 * len(KEPT + REMOVED) + 18


def test_a_library_that_nothing_provides_is_missing(packages: Path, tmp_path: Path) -> None:
    folder = packages / "nvidia" / "cublas" / "lib"
    compiled(tmp_path / "libone.so.1", "-Wl,-soname,libone.so.1")
    compiled(folder / "libtwo.so.1", "-Wl,--no-as-needed", tmp_path / "libone.so.1")
    for name in KEPT + REMOVED:
        (packages / name).unlink()

    assert check.missing(tmp_path) == ["libtwo.so.1 needs libone.so.1, which is missing"]

    links = tmp_path / "lib" / "nvidia"
    links.mkdir()
    (links / "libtwo.so.1").symlink_to(folder / "libtwo.so.1")
    (found,) = check.unopened(tmp_path)
    assert found.startswith("libtwo.so.1 cannot be opened: libtwo.so.1: cannot open shared object file")
