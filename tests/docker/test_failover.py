"""A PostgreSQL failover while the containers of three subjects train: the address moves to the standby, which accepts writes later."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.articles import labelled, store
from tests.docker.installations import of_containers
from tests.end_to_end.trainings import wait_for
from tests.strict import need
from tools import postgresql
from tools.docker_engine import Engine
from tools.installation import Installation, create_migrated

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
        create_migrated(server, "gregory")
        yield server


@pytest.fixture
def containers(
    primary: postgresql.Server, docker_engine: Engine, small_image: str, small_bundle: Path, tmp_path: Path
) -> Iterator[Installation]:
    """An installation whose runs are containers."""
    variables = primary.environment("gregory")
    with of_containers(
        tmp_path / "installation", docker_engine, image=small_image, bundle=small_bundle, database=variables
    ) as installation:
        for subject in SUBJECTS:
            store(installation, labelled(24, first=1), team="team", subject=subject)
        yield installation


def test_a_failover_while_three_containers_train_loses_nothing(containers: Installation, primary: postgresql.Server):
    command = ("train_models", "--team", "team", "--all-articles", "--algo", "lgbm_tfidf")
    with postgresql.standby(primary) as standby, containers.start(*command) as training:
        wait_for(
            # One has trained, and another trains.
            lambda: (
                0 < len(manifests(containers)) < len(SUBJECTS)
                and list(containers.models.glob("[!.]*/[!.]*/.runs/[!.]*/stages/train-lgbm_tfidf"))
            )
        )
        primary.stop()
        standby.take_over(primary)
        time.sleep(PROMOTED_AFTER)
        standby.promote()
        output, _ = training.communicate(timeout=600)

        rows = containers.rows()
    assert [(row["success"], row["state"], row["attempt"]) for row in rows] == [(True, "succeeded", 1)] * len(SUBJECTS), output
    assert len(manifests(containers)) == len(SUBJECTS)
    assert training.returncode == 0, output


def manifests(installation: Installation) -> list[Path]:
    return list(installation.models.glob("team/*/lgbm_tfidf/*/manifest.json"))
