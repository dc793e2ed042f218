"""The environment with torch, installed from its lock file once per machine, and tiny models for the preparations."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.preparation.fetching import Run
from tests.strict import need
from tools.cached_environment import NotInstalled, cached_environment
from tools.installation import REPOSITORY

LOCK = REPOSITORY / "locks" / "requirements-prepare.lock"


@pytest.fixture(scope="session")
def torch_python() -> Path:
    """A Python with torch: 8 GB, but hard links to uv's cache, kept outside the checkout under the lock's checksum."""
    try:
        environment = cached_environment("prepare", LOCK)
    except NotInstalled as error:
        need(False, what=f"an environment from {LOCK.name}", remedy=f"give it a package index: {error}")
    return environment / "bin" / "python"


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
