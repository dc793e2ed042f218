"""The versions of Python: what `make setup` accepts, and the interpreter that `tools.pythons` finds."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tools import pythons
from tools.installation import REPOSITORY

REQUIRED = SpecifierSet(tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"])


def interpreter(path: Path, version: tuple[int, int]) -> Path:
    """A Python that takes itself for another version, and that cannot make an environment."""
    path.write_text(
        '#!/bin/sh\n[ "$1" = -c ] || { echo "an environment is made"; exit 1; }\n'
        f'exec {sys.executable} -c "import sys; sys.version_info = {(*version, 0)}; exec(sys.argv[1])" "$2"\n'
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 10), (3, 11), (3, 12), (3, 13), (3, 14), (4, 0)])
def test_make_setup_accepts_the_versions_of_the_package(tmp_path: Path, version: tuple[int, int]):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    (tmp_path / "locks").mkdir()
    for lock in ("requirements-uv.lock", "requirements-dev.lock"):
        (tmp_path / "locks" / lock).touch()
    python = interpreter(tmp_path / "python", version)

    done = subprocess.run(["make", "setup", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)

    number = ".".join(map(str, version))
    refusal = (
        f"{python} is Python {number}, and TensorFlow has packages for 3.11 to 3.13 only. Give another one: make setup PYTHON=python3.13\n"
    )
    accepted = REQUIRED.contains(f"{number}.1")
    assert ("an environment is made" in done.stdout, done.stderr.startswith(refusal)) == (accepted, not accepted)
    assert done.returncode == 2


def test_a_shim_without_a_version_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shims, installed = tmp_path / "shims", tmp_path / "versions" / "3.13.0" / "bin"
    for folder in (shims, installed):
        folder.mkdir(parents=True)
    (shims / "python3.13").write_text("#!/bin/sh\nexit 127\n")
    (shims / "python3.13").chmod(0o755)
    (installed / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(shims))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert pythons.find("3.13") == installed / "python"
    assert pythons.find("3.12") is None
