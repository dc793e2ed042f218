"""The environment with torch, installed from its lock file once per machine, and tiny models for the preparations."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.preparation.fetching import Run
from tests.strict import need
from tools.installation import REPOSITORY

LOCK = REPOSITORY / "locks" / "requirements-prepare.lock"


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """A Python with torch: 8 GB, but hard links to uv's cache, kept outside the checkout under the lock's checksum."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gregory-train"
    environment = cache / f"prepare-{digest}-{sys.version_info.major}.{sys.version_info.minor}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failure = "" if environment.exists() else _make(environment)
    need(not failure, what=f"an environment from {LOCK.name}", remedy=f"give it a package index: {failure}")
    return environment / "bin" / "python"


def _make(environment: Path) -> str:
    """Install the lock file and return the error, if any. One rename at the end puts the complete folder in place."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory(dir=environment.parent, ignore_cleanup_errors=True) as folder:
        made = Path(folder, "environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", made], check=True)
        command = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            made / "bin" / "python",
            "--require-hashes",
            "-r",
            LOCK,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip()
        shutil.move(made, environment)
    return ""


@pytest.fixture(scope="session")
def with_torch(torch_python: Path) -> Run:
    """Run that Python in the repository with these arguments and variables."""

    def run(*arguments: object, **variables: object) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GREGORY_"))}
        environment = {**kept, **{name: str(value) for name, value in variables.items()}}
        command = [str(torch_python), *map(str, arguments)]
        return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def encoder_source(with_torch: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT in the layout of the real repository."""
    folder = tmp_path_factory.mktemp("source") / "tiny-bert"
    done = with_torch("-m", "tests.preparation.hugging_face", "encoder", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def summariser_source(with_torch: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BART in the layout of the real repository."""
    folder = tmp_path_factory.mktemp("source") / "tiny-bart"
    done = with_torch("-m", "tests.preparation.hugging_face", "summariser", folder, 1)
    assert done.returncode == 0, done.stderr
    return folder
