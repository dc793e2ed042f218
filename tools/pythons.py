"""`python -m tools.pythons VERSION...`: run the quick tests with other versions of Python, each in an environment from the lock file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.cached_environment import NotInstalled, cached_environment
from tools.installation import REPOSITORY

# No test of them imports TensorFlow.
QUICK = (
    "runs",
    "training",
    "data",
    "ml/test_lgbm_trainer.py",
    "ml/test_split.py",
    "ml/test_config.py",
    "ml/test_text.py",
    "ml/test_files.py",
)
NEEDS_MORE = "docker or cluster or torch or packages or root or slow or postgres"
# The libraries that exist only for some versions of Python.
LIBRARIES = "import ctranslate2, h5py, keras_hub, lightgbm, matplotlib, psycopg, tensorflow, tokenizers"


def main(versions: list[str]) -> int:
    """0 if the quick tests pass with every version."""
    for version in versions:
        interpreter = find(version)
        if interpreter is None:
            sys.stderr.write(f"Python {version} was not found; install it, for example: pyenv install {version}\n")
            return 1
        try:
            environment = cached_environment("tests", REPOSITORY / "locks" / "requirements-dev.lock", python=interpreter)
        except NotInstalled as error:
            sys.stderr.write(f"Python {version}: {error}\n")
            return 1
        python = environment / "bin" / "python"
        tests = ["-m", "pytest", "--numprocesses", str(os.cpu_count() or 1), "--quiet", "-m", f"not ({NEEDS_MORE})"]
        for arguments in (["-c", LIBRARIES], [*tests, *(f"tests/{name}" for name in QUICK)]):
            if subprocess.run([python, *arguments], cwd=REPOSITORY, check=False).returncode:
                sys.stderr.write(f"Python {version}: the quick tests failed\n")
                return 1
    return 0


def find(version: str) -> Path | None:
    """The interpreter of a version, on the PATH or from pyenv. A shim of pyenv that is not active does not start."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    on_path = shutil.which(f"python{version}")
    candidates = [*([Path(on_path)] if on_path else []), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    return next((path for path in candidates if _starts(path)), None)


def _starts(python: Path) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
