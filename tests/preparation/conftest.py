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
def sources(with_torch: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT and a tiny BART, each in the layout of the real repository, and with the BART's weights for torch."""
    folder = tmp_path_factory.mktemp("source")
    places = (folder / "tiny-bert", folder / "tiny-bart", folder / "pytorch_model.bin")
    done = with_torch("-m", "tests.preparation.hugging_face", "sources", *places)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def encoder_source(sources: Path) -> Path:
    return sources / "tiny-bert"


@pytest.fixture(scope="session")
def summariser_source(sources: Path) -> Path:
    return sources / "tiny-bart"
