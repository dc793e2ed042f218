"""One story on both generations of GregoryAI's tables: train, promote, predict, retrain, refuse, compare, go back."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests import roles
from tests.live.articles_of_record import require_true_values
from tests.live.database import LABELLED, LiveDatabase, live
from tools.installation import Installation
from tools.postgresql import Server

pytestmark = pytest.mark.slow

SUBJECT = ("--team", "neurology", "--subject", "ms")
ALGORITHM = ("--algo", "lgbm_tfidf")
MEMBERS = LABELLED + 6
GATE = ("--promote-if-not-worse", "0.02")
# LightGBM finds no split, so every text gets the same probability.
CONSTANT = "lgbm: {min_child_samples: 1000}\n"


@pytest.fixture(params=["newest", "as_specified"])
def with_roles(
    request: pytest.FixtureRequest, postgresql_server: Server, small_bundle: Path, tmp_path: Path
) -> tuple[LiveDatabase, Installation]:
    """An installation with the roles of commands, runs and predictions."""
    database = live(postgresql_server, request.param)
    environment = {"GREGORY_BASE_MODELS": str(small_bundle), "GREGORY_PROMOTE_MINIMUM": "3", **database.environment()}
    installation = Installation(tmp_path / "installation", environment=environment)
    installation.must("migrate", "-v0")
    database.grant()
    roles.grant(database.server, database.name, roles.PREDICTOR_SCRIPT)
    installation.environment |= database.environment(role=True)
    return database, installation


def train(installation: Installation, version: str, *flags: str) -> None:
    done = installation.manage("train_models", *SUBJECT, "--all-articles", *ALGORITHM, "--version", version, *flags)
    assert done.returncode == 0, done.stdout + done.stderr


def predict(database: LiveDatabase, installation: Installation, *flags: str) -> dict[str, Any]:
    """The row of the table, after a comparison of every predicted article with GregoryAI's rules."""
    command = ("predict_articles", *SUBJECT, "--all-articles", *ALGORITHM, "--output", "json", *flags)
    done = installation.manage(*command, **roles.OF_PREDICTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    if database.has("articles", "ml_score"):
        require_true_values(database)
    (row,) = json.loads(done.stdout)
    assert row["result"] == "success"
    return dict(row)


def models(installation: Installation, *arguments: str) -> Any:
    return json.loads(installation.must("models", *arguments, *SUBJECT, *ALGORITHM, "--output", "json"))


def used(installation: Installation) -> str:
    (version,) = [one["version"] for one in models(installation, "list") if one["used"]]
    return str(version)


def test_an_installation_trains_predicts_and_goes_back(with_roles: tuple[LiveDatabase, Installation]):
    database, installation = with_roles
    train(installation, "v1")
    installation.must("models", "promote", "v1", *SUBJECT, *ALGORITHM, "--reason", "the first one")
    first = predict(database, installation)
    assert (first["version"], first["new predictions"]) == ("v1", MEMBERS)

    database.add_labelled(40, first=1001)
    train(installation, "v2")
    assert used(installation) == "v1"
    second = predict(database, installation, "--threshold", "0.5")
    assert (second["version"], second["new predictions"], second["threshold"]) == ("v1", 40, 0.5)

    database.execute("UPDATE gregory_articlesubjectrelevance SET is_relevant = NOT is_relevant WHERE article_id IN (1, 2)")
    installation.set_hyperparameters(CONSTANT)
    train(installation, "v3", *GATE)
    assert used(installation) == "v1"
    (listed,) = [one for one in models(installation, "list") if one["version"] == "v3"]
    assert listed["gate"].startswith("not promoted: it gives nearly the same probability to every test article")

    database.add_labelled(40, first=2001)
    assert models(installation, "compare", "v2", "v3", "--ask")["conclusion"] == "worse"
    installation.must("models", "promote", "v2", *SUBJECT, *ALGORITHM)
    third = predict(database, installation)
    assert (third["version"], third["new predictions"]) == ("v2", MEMBERS + 80)

    installation.must("models", "rollback", *SUBJECT, *ALGORITHM)
    last = predict(database, installation)
    assert (last["version"], last["new predictions"]) == ("v1", 40)
    counted = "SELECT count(*), count(DISTINCT (article_id, model_version)) FROM gregory_mlpredictions"
    assert database.execute(counted) == [(2 * (MEMBERS + 80),) * 2]
    assert database.execute("SELECT DISTINCT success FROM gregory_predictionrunlog WHERE run_type = 'predict'") == [(True,)]
