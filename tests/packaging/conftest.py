"""The wheel of this checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.installation import REPOSITORY

# The folders that Python would find as packages, and the files that the metadata needs.
SOURCE = ("benchmarks", "gregory", "job", "tests", "tools", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build in a copy, because setuptools writes into the folder that it builds. It uses the setuptools of this environment."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCE:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, source)
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, capture_output=True)
    (path,) = target.iterdir()
    return path
