"""A PostgreSQL failover while the containers of three subjects train: the address moves to the standby, which accepts writes later."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.articles import labelled, store
from tests.end_to_end.trainings import wait_for
from tests.strict import need
from tools import postgresql
from tools.docker_engine import Engine
from tools.installation import Installation

pytestmark = pytest.mark.slow

SUBJECTS = ("first", "second", "third")
# Longer than the interval of heartbeats.
PROMOTED_AFTER = 20.0


@pytest.fixture
def primary() -> Iterator[postgresql.Server]:
    """A server that does not come back."""
    programs = postgresql.binaries()
    need(programs, what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")
    assert programs is not None
    with postgresql.running(programs) as server:
        server.create("gregory")
        yield server


@pytest.fixture
def containers(
    primary: postgresql.Server, docker_engine: Engine, small_image: str, small_bundle: Path, tmp_path: Path
) -> Iterator[Installation]:
    """An installation whose runs are containers."""
    environment = {
        "DOCKER_HOST": docker_engine.host,
        "GREGORY_RUNNER": "docker",
        "GREGORY_DOCKER_IMAGE": small_image,
        "GREGORY_DOCKER_NETWORK": "host",
        "GREGORY_BASE_MODELS": str(small_bundle),
        **primary.environment("gregory"),
    }
    installation = Installation(tmp_path / "installation", environment=environment)
    # Containers read the folders as another user, and pytest's temporary folders are private.
    for folder in (*installation.models.parents, *small_bundle.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    os.chown(installation.models, 12345, 12345)
    installation.must("migrate", "-v0")
    for subject in SUBJECTS:
        store(installation, labelled(24, first=1), team="team", subject=subject)
    yield installation
    docker_engine.remove_containers()


def test_a_failover_while_three_containers_train_loses_nothing(containers: Installation, primary: postgresql.Server):
    command = ("train_models", "--team", "team", "--all-articles", "--algo", "lgbm_tfidf")
    with postgresql.standby(primary) as standby, containers.start(*command) as training:
        wait_for(lambda: len(manifests(containers)) == 1 and list(containers.models.glob(".runs/*/stages/train-lgbm_tfidf")), seconds=240)
        primary.stop()
        standby.take_over(primary)
        time.sleep(PROMOTED_AFTER)
        standby.promote()
        output, _ = training.communicate(timeout=300)

        rows = containers.rows()
    assert [(row["success"], row["state"], row["attempt"]) for row in rows] == [(True, "succeeded", 1)] * len(SUBJECTS), output
    assert len(manifests(containers)) == len(SUBJECTS)
    assert training.returncode == 0, output


def manifests(installation: Installation) -> list[Path]:
    return list(installation.models.glob("team/*/lgbm_tfidf/*/manifest.json"))
