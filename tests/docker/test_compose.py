"""The installation of compose.yaml on one host, with a real database container, up to a model and its row."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.strict import need
from tools.docker_engine import COMPOSE, Engine
from tools.installation import REPOSITORY

pytestmark = pytest.mark.slow

Compose = Callable[..., str]


@pytest.fixture
def compose(docker_engine: Engine, cpu_image: str, postgres_image: str, small_bundle: Path, tmp_path: Path) -> Iterator[Compose]:
    """docker-compose with compose.yaml. Afterwards all its containers and volumes are removed."""
    need(Path(COMPOSE).exists(), what="docker-compose", remedy="apt-get install docker-compose")
    environment = {
        **os.environ,
        "DOCKER_HOST": docker_engine.host,
        "COMPOSE_PROJECT_NAME": "gregory",
        "GREGORY_IMAGE": cpu_image,
        "POSTGRES_IMAGE": postgres_image,
        "POSTGRES_PASSWORD": "test-only",
        "BASE_MODELS": str(small_bundle),
    }

    def call(*arguments: str, code: int = 0) -> str:
        argv = [COMPOSE, "--file", str(REPOSITORY / "compose.yaml"), *arguments]
        done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=400)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    yield call
    call("down", "--volumes", "--remove-orphans")


def run(compose: Compose, *arguments: str, code: int = 0) -> str:
    return compose("run", "--rm", "-T", *arguments, code=code)


def test_from_an_empty_database_to_a_model(compose: Compose):
    run(compose, "migrate", "-v0")
    run(compose, "manage", "load_demo")

    told = run(compose, "train", "--all-teams", "--all-articles", "--algo", "lgbm_tfidf", "--verbose", "3")
    again = run(compose, "train", "--team", "neurology", "--all-articles", "--algo", "lgbm_tfidf")

    assert told.count("Finished version") == 3
    assert again.count("_2 in ") == 2
    assert "5 version folders, all complete and unchanged" in run(compose, "manage", "verify_models")
    assert run(compose, "reconcile") == "0 unfinished runs, 0 closed\n"


def test_usage_error_keeps_its_exit_code(compose: Compose):
    assert run(compose, "train", "--subject", "x", code=2) == ""
