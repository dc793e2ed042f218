"""A prediction as a container on tables of GregoryAI, and the articles afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import roles
from tests.docker.installations import of_containers
from tests.live.articles_of_record import require_true_values
from tests.live.database import LABELLED, LiveDatabase, live
from tools import postgresql
from tools.docker_engine import Engine
from tools.installation import Installation

pytestmark = pytest.mark.slow

SUBJECT = ("--team", "neurology", "--subject", "ms", "--all-articles", "--algo", "lgbm_tfidf")
MEMBERS = LABELLED + 6


@pytest.fixture
def predicted(
    tmp_path: Path, small_bundle: Path, postgresql_server: postgresql.Server, docker_engine: Engine, small_image: str
) -> Iterator[tuple[LiveDatabase, Installation]]:
    """An installation with the roles of the commands and of the runs."""
    database = live(postgresql_server, "newest")
    variables = database.environment()
    with of_containers(
        tmp_path / "installation", docker_engine, image=small_image, bundle=small_bundle, database=variables
    ) as installation:
        installation.must("migrate", "-v0")
        database.grant()
        roles.grant(database.server, database.name, roles.PREDICTOR_SCRIPT)
        installation.environment |= database.environment(role=True)
        yield database, installation


def test_a_container_predicts_with_the_role_of_predictions(predicted: tuple[LiveDatabase, Installation], docker_engine: Engine):
    database, installation = predicted
    installation.must("train_models", *SUBJECT)
    installation.environment |= roles.OF_PREDICTIONS

    first, again = (json.loads(installation.must("predict_articles", *SUBJECT, "--output", "json")) for _ in range(2))

    assert [(row["result"], row["new predictions"]) for row in (*first, *again)] == [("success", MEMBERS), ("success", 0)]
    assert require_true_values(database) == MEMBERS
    runs = "SELECT runner, state FROM gregory_runs_trainingrun WHERE kind = 'predict'"
    assert database.execute(runs) == [("docker", "succeeded")]
    assert docker_engine.containers() == []
    assert list(installation.models.glob("[!.]*/[!.]*/.runs/[!.]*")) == []
    installation.must("verify_models")
