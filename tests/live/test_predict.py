"""On a GregoryAI database: predictions in its own table, and the values of articles that follow from them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import roles
from tests.live.database import LABELLED, SCHEMAS, LiveDatabase, live
from tools.installation import Installation
from tools.postgresql import Server

SUBJECT = ("--team", "neurology", "--subject", "ms", "--all-articles")
# Each article with a label of this subject, and four more: without a summary, with an empty one, with mark-up, and without a label.
MEMBERS = LABELLED + 6
THRESHOLDS = {"any": 1, "majority": 2, "all": 3}


@dataclass(frozen=True, slots=True)
class Trained:
    """A database of one schema, and a model that the role of trainings made."""

    schema: str
    database: LiveDatabase
    installation: Installation

    def copied(self, folder: Path) -> tuple[LiveDatabase, Installation]:
        """A copy for one test, with the owner of the tables as the user."""
        database = self.database.clone()
        shutil.copytree(self.installation.folder, folder)
        environment = {"GREGORY_BASE_MODELS": self.installation.environment["GREGORY_BASE_MODELS"], **database.environment()}
        return database, Installation(folder, environment=environment)


@pytest.fixture(scope="module", params=SCHEMAS)
def trained(
    request: pytest.FixtureRequest, postgresql_server: Server, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    database = live(postgresql_server, request.param)
    environment = {"GREGORY_BASE_MODELS": str(small_bundle), **database.environment()}
    installation = Installation(tmp_path_factory.mktemp(request.param) / "installation", environment=environment)
    installation.must("migrate", "-v0")
    database.grant()
    roles.grant(database.server, database.name, roles.PREDICTOR_SCRIPT)
    installation.environment |= database.environment(role=True)
    installation.must("train_models", *SUBJECT, "--algo", "lgbm_tfidf")
    return Trained(request.param, database, installation)


@pytest.fixture
def predicted(trained: Trained, tmp_path: Path) -> tuple[LiveDatabase, Installation]:
    """Each article has its prediction. The owner of the tables wrote them."""
    database, installation = trained.copied(tmp_path / "installation")
    if trained.schema == "newest":
        others(database)
    installation.must("predict_articles", *SUBJECT)
    return database, installation


def others(database: LiveDatabase) -> None:
    """Predictions of GregoryAI: of another algorithm, of a retired version, and one whose threshold was lower."""
    for article, algorithm, version, probability, day in (
        (2, "lstm", "20250101", 0.95, 1), (2, "lstm", "20250201", 0.1, 2), (4, "pubmed_bert", "20250101", 0.9, 1),
        (6, "lstm", "20250101", 0.6, 1), (300, "lstm", "20250101", 0.99, 1),
    ):  # fmt: skip
        database.execute(
            "INSERT INTO gregory_mlpredictions (article_id, subject_id, algorithm, model_version, probability_score, predicted_relevant, "
            "created_date) VALUES (%s, 1, %s, %s, %s, true, %s)",
            [article, algorithm, version, probability, f"2025-01-0{day}"],
        )


def test_every_article_gets_one_prediction_and_one_row_names_it(predicted: tuple[LiveDatabase, Installation]):
    database, installation = predicted
    counted = "SELECT count(*), count(DISTINCT article_id), bool_and(probability_score BETWEEN 0 AND 1) FROM gregory_mlpredictions"
    ours = " WHERE created_date > '2026-01-01'"
    row = "SELECT algorithm, success, error_message FROM gregory_predictionrunlog WHERE run_type = 'predict' ORDER BY id"

    assert database.execute(counted + ours) == [(MEMBERS, MEMBERS, True)]
    assert database.execute(row) == [("lgbm_tfidf", True, None)]
    before = database.execute("SELECT * FROM gregory_mlpredictions ORDER BY id")
    installation.must("predict_articles", *SUBJECT)
    assert database.execute("SELECT * FROM gregory_mlpredictions ORDER BY id") == before
    assert database.execute(row) == [("lgbm_tfidf", True, None)] * 2


@pytest.mark.parametrize("trained", ["newest"], indirect=True)
@pytest.mark.parametrize("consensus", ["majority", *(pytest.param(word, marks=pytest.mark.slow) for word in ("any", "all"))])
def test_the_values_of_articles_follow_gregoryais_rules(predicted: tuple[LiveDatabase, Installation], consensus: str):
    database, installation = predicted
    database.execute("UPDATE subjects SET ml_consensus_type = %s", [consensus])
    database.execute("DELETE FROM gregory_mlpredictions WHERE created_date > '2026-01-01'")
    database.execute("UPDATE articles SET relevant = false, ml_score = NULL")

    installation.must("predict_articles", *SUBJECT)

    found = database.execute("SELECT article_id, relevant, ml_score FROM articles WHERE ml_score IS NOT NULL ORDER BY article_id")
    assert len(found) == MEMBERS
    assert [(key, relevant) for key, relevant, _ in found] == [(key, expected(database, key, consensus)[0]) for key, *_ in found]
    assert [score for *_, score in found] == pytest.approx([expected(database, key, consensus)[1] for key, *_ in found])
    assert len({relevant for _, relevant, _ in found}) == 2


def expected(database: LiveDatabase, article: int, consensus: str) -> tuple[bool, float]:
    """The rules in Python, from the rows."""
    rows = database.execute(
        "SELECT algorithm, probability_score, predicted_relevant FROM gregory_mlpredictions WHERE article_id = %s ORDER BY created_date",
        [article],
    )
    latest = {algorithm: (probability, relevant) for algorithm, probability, relevant in rows}
    votes = sum(relevant and probability >= 0.8 for probability, relevant in latest.values())
    labels = database.execute("SELECT is_relevant FROM gregory_articlesubjectrelevance WHERE article_id = %s", [article])
    mean = sum(probability for probability, _ in latest.values()) / len(latest)
    return votes >= THRESHOLDS[consensus] or (True,) in labels, mean


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["newest"], indirect=True)
def test_no_recompute_leaves_the_values_of_articles(predicted: tuple[LiveDatabase, Installation]):
    database, installation = predicted
    database.execute("DELETE FROM gregory_mlpredictions WHERE created_date > '2026-01-01'")
    database.execute("UPDATE articles SET relevant = false, ml_score = NULL")

    installation.must("predict_articles", *SUBJECT, "--no-recompute")

    assert database.execute("SELECT count(*) FROM articles WHERE relevant OR ml_score IS NOT NULL") == [(0,)]
    assert database.execute("SELECT count(*) FROM gregory_mlpredictions WHERE created_date > '2026-01-01'") == [(MEMBERS,)]


@pytest.fixture
def with_roles(trained: Trained, tmp_path: Path) -> tuple[LiveDatabase, Installation]:
    """Nothing is predicted yet. The role of trainings is the user."""
    database, installation = trained.copied(tmp_path / "installation")
    installation.environment |= database.environment(role=True)
    return database, installation


def test_the_role_of_predictions_suffices_and_that_of_trainings_writes_none(with_roles: tuple[LiveDatabase, Installation]):
    database, installation = with_roles

    refused = installation.manage("predict_articles", *SUBJECT)
    without_row = database.execute("SELECT count(*) FROM gregory_predictionrunlog WHERE run_type = 'predict'")
    installation.environment |= roles.OF_PREDICTIONS
    installation.must("predict_articles", *SUBJECT)

    assert (refused.returncode, without_row) == (1, [(0,)])
    assert "permission denied for table gregory_mlpredictions" in refused.stderr
    assert database.execute("SELECT count(*) FROM gregory_mlpredictions") == [(MEMBERS,)]


@pytest.mark.parametrize("trained", ["newest"], indirect=True)
def test_a_role_without_insert_fails_the_row_before_any_stage(with_roles: tuple[LiveDatabase, Installation]):
    database, installation = with_roles
    installation.environment |= roles.OF_PREDICTIONS
    database.execute("REVOKE INSERT (article_id) ON gregory_mlpredictions FROM gregory_predict")

    done = installation.manage("predict_articles", *SUBJECT)

    grant = 'GRANT INSERT (article_id) ON gregory_mlpredictions TO "gregory_predict";'
    message = f"the role of the run may not write predictions; run docs/sql/predictor.sql, or as the owner of the tables: {grant}"
    rows = database.execute("SELECT success, error_message FROM gregory_predictionrunlog WHERE run_type = 'predict'")
    assert (done.returncode, rows) == (1, [(False, message)])
    assert database.execute("SELECT count(*) FROM gregory_mlpredictions") == [(0,)]


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["newest"], indirect=True)
def test_preflight_warns_of_gregoryais_own_predictions(predicted: tuple[LiveDatabase, Installation]):
    database, installation = predicted
    assert "GregoryAI's own" not in installation.manage("preflight", "--only", "database").stdout
    database.execute(
        "INSERT INTO gregory_predictionrunlog (team_id, subject_id, model_version, algorithm, run_type, run_started, triggered_by) "
        "VALUES (1, 1, '20260101', 'lstm', 'predict', now(), 'predict_articles command')"
    )

    (line,) = [line for line in installation.manage("preflight", "--only", "database").stdout.splitlines() if "GregoryAI's own" in line]

    assert line.startswith("WARNING database")
    assert line.endswith("; replace its line in cron by: python manage.py predict_articles --all-teams")
