"""Check the virtual environment of the image `train` while it is built: `LD_LIBRARY_PATH=... python check.py VENV`.

No build has a GPU. So TensorFlow's own loader is asked, as at the start on a GPU, whether it can open its CUDA libraries, and every library
is opened. The exit code is 1 for a library that is missing, and for an environment above the limit of its size.
"""

import ctypes
import subprocess
import sys
from pathlib import Path

# Bytes of the files. With a Debian of 0.17 GB below, the image has at most 4.5 GB.
LIMIT = 4_330_000_000
# It comes with the driver of the machine.
DRIVER = "libcuda.so.1"
# absl::Status DsoLoader::MaybeTryDlopenGPULibraries(). TensorFlow registers no GPU if it fails.
LOADER = "_ZN3tsl8internal9DsoLoader26MaybeTryDlopenGPULibrariesEv"
_OK = 1  # the inlined absl::OkStatus()


def size(folder: Path) -> int:
    """Bytes of all files below the folder. A link counts as its own few bytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def sizes(packages: Path) -> dict[str, int]:
    """Bytes of each package below site-packages, and of each of NVIDIA's, the largest first."""
    folders = [path for path in packages.iterdir() if path.name != "nvidia"] + [*(packages / "nvidia").glob("*")]
    found = {path.relative_to(packages).as_posix(): size(path) if path.is_dir() else path.stat().st_size for path in folders}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def missing(venv: Path) -> list[str]:
    """A sentence for every shared library of TensorFlow, CTranslate2 and NVIDIA that needs another one which is nowhere."""
    named = ("nvidia", "tensorflow", "ctranslate2", "ctranslate2.libs")
    libraries = [path for name in named for path in sorted(venv.glob(f"lib/python3.*/site-packages/{name}/**/*.so*")) if path.is_file()]
    return [
        f"{library.name} needs {line.split()[0]}, which is missing"
        for library in libraries
        for line in subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout.splitlines()
        if line.endswith("=> not found") and not line.strip().startswith(DRIVER)
    ]


def unopened(venv: Path) -> list[str]:
    """A sentence for each library that cannot be opened, in the order of the links that CTranslate2 and TensorFlow use."""
    found = []
    for link in sorted((venv / "lib/nvidia").glob("lib*")):
        try:
            ctypes.CDLL(link.name)
        except OSError as error:
            if DRIVER not in str(error):
                found.append(f"{link.name} cannot be opened: {error}")
    return found


def tensorflow_opens_its_libraries() -> bool:
    """Whether TensorFlow would register a GPU."""
    import tensorflow

    framework = Path(tensorflow.__file__).parent / "libtensorflow_framework.so.2"
    loader = getattr(ctypes.CDLL(str(framework)), LOADER)
    loader.argtypes, loader.restype = [ctypes.c_void_p], None
    status = (ctypes.c_size_t * 1)()
    loader(ctypes.addressof(status))
    return status[0] == _OK


def main(venv: Path) -> int:
    """Print the sizes and the problems."""
    import ctranslate2

    bytes_ = size(venv)
    for packages in venv.glob("lib/python3.*/site-packages"):
        for name, each in list(sizes(packages).items())[:20]:
            print(f"{each / 1e6:8.1f} MB {name}")
    print(f"{bytes_ / 1e6:8.1f} MB in total, of {LIMIT / 1e6:.1f}; CTranslate2 {ctranslate2.__version__}")
    problems = missing(venv) + unopened(venv)
    if not tensorflow_opens_its_libraries():
        problems.append("TensorFlow cannot open its CUDA libraries and would find no GPU")
    if bytes_ > LIMIT:
        problems.append(f"{venv} has {bytes_} bytes, more than {LIMIT}")
    print("\n".join(problems))
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
