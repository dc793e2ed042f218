"""The whole life of runs under the roles with the least rights: trained, killed, closed, resumed and cancelled."""

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gregory.data import demo
from tests.end_to_end.trainings import processes, training, wait_for
from tests.live.database import LiveDatabase, live
from tests.live.test_drop_in import OPEN_RUN
from tests.roles import ROLE, RUN_PASSWORD, RUN_ROLE
from tools.installation import REPOSITORY, Installation
from tools.postgresql import Server

TRAIN = ("train_models", "--team", "neurology", "--subject", "ms", "--algo", "lgbm_tfidf,lstm")


@pytest.fixture
def database(postgresql_server: Server) -> LiveDatabase:
    return live(postgresql_server, "newest")


@pytest.fixture
def installation(database: LiveDatabase, small_bundle: Path, tmp_path: Path) -> Installation:
    """An installation on a GregoryAI database. Its commands and its runs have the two roles."""
    installation = Installation(tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle), **database.environment()})
    installation.must("migrate", "-v0")
    database.grant()
    # Only a run writes this column, so no run uses the role of the commands.
    database.execute(f"REVOKE UPDATE (run_started) ON gregory_predictionrunlog FROM {ROLE}")
    installation.environment |= database.environment(role=True)
    installation.set_hyperparameters("lstm: {epochs: 12, patience: 12}\n")
    return installation


@pytest.mark.slow
def test_a_killed_run_is_closed_and_resumed(installation: Installation):
    with installation.start(*TRAIN) as command:
        worker = training(installation, command, "lstm")
        (job,) = processes(command, "-m job")
        for process in (command, job, worker):
            process.send_signal(signal.SIGKILL)
        command.wait()
        wait_for(lambda: not job.is_running() and not worker.is_running())
    run_id = installation.rows()[-1]["run_id"]

    report = installation.must("reconcile_runs", "--once")
    installation.must("train_models", "--resume", run_id)

    assert f"resume it with: python manage.py train_models --resume {run_id}\n" in report
    assert [(row["algorithm"], row["success"], row["state"]) for row in installation.rows()] == [
        ("lgbm_tfidf", True, "succeeded"),
        ("lstm", False, "succeeded"),
        ("lstm", True, "succeeded"),
    ]
    assert "2 version folders, all complete and unchanged" in installation.must("verify_models")


@pytest.mark.slow
def test_a_run_is_cancelled(installation: Installation):
    with installation.start(*TRAIN) as command:
        training(installation, command, "lstm")
        (run_id,) = {row["run_id"] for row in installation.rows()}

        installation.must("training_runs", "cancel", run_id)

        command.wait(300)
    assert [(row["algorithm"], row["success"], row["reason"], row["state"]) for row in installation.rows()] == [
        ("lgbm_tfidf", True, "", "cancelled"),
        ("lstm", False, "cancelled", "cancelled"),
    ]
    assert run_id in installation.must("training_runs", "list")


MONITOR = """
from gregory.models import Subject
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.states import RunState
from tests.database_rows import opened
spec = opened(Subject(**Subject.objects.values("pk", "team_id").get(subject_slug="ms", team__slug="neurology")))
store.end_run(spec, RunState.FAILED, Diagnosis(summary="it failed"))
(notice,) = store.notices(no_success_days=1)
print(store.claim_notice(notice, "webhook"), store.claim_notice(notice, "webhook"))
store.record_notice(notice, "webhook")
print([(count.state, count.runs) for count in store.measure().counts])
"""


def test_figures_and_notices_need_no_more_rights(installation: Installation):
    assert installation.run_code(MONITOR).splitlines() == ["True False", "[('failed', 1)]"]


def add_demo(database: LiveDatabase) -> set[tuple[str, str]]:
    """Insert the articles and reviews of the demo as GregoryAI would. Returns team and subject of each of its subjects."""
    now = datetime.now(UTC)
    articles = demo.generate(now.date())
    subjects = {(review.team, review.subject) for article in articles for review in article.reviews}
    teams = dict(database.execute("SELECT slug, id FROM gregory_team"))
    for team in sorted({team for team, _ in subjects} - teams.keys()):
        database.insert("gregory_team", {"slug": team, "organization_id": 1})
    teams = dict(database.execute("SELECT slug, id FROM gregory_team"))
    database.insert("subjects", *({"subject_name": slug, "subject_slug": slug, "team_id": teams[team]} for team, slug in sorted(subjects)))
    ids = {
        (team, slug): id
        for team, slug, id in database.execute("SELECT t.slug, subject_slug, s.id FROM subjects s JOIN gregory_team t ON t.id = team_id")
    }
    database.insert(
        "articles",
        *(
            {
                "article_id": article.article_id, "title": article.title, "summary": article.abstract,
                "link": f"urn:article:{article.article_id}", "discovery_date": article.discovery_date,
            }
            for article in articles
        ),
    )  # fmt: skip
    reviews = [(article.article_id, review) for article in articles for review in article.reviews]
    members = [(number, teams[review.team], ids[review.team, review.subject]) for number, review in reviews]
    database.insert("articles_subjects", *({"articles_id": number, "subject_id": subject} for number, _, subject in members))
    in_teams = sorted({(number, team) for number, team, _ in members})
    database.insert("articles_teams", *({"articles_id": number, "team_id": team} for number, team in in_teams))
    database.insert(
        "gregory_articlesubjectrelevance",
        *(
            {"article_id": number, "subject_id": ids[review.team, review.subject], "is_relevant": review.label}
            for number, review in reviews
            if review.label is not None
        ),
    )
    return subjects


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["newest", "long_lived"])
def test_a_subject_of_the_demo_trains_under_the_roles(postgresql_server: Server, small_bundle: Path, tmp_path: Path, schema: str):
    """With every algorithm, on a GregoryAI database of each generation."""
    database = live(postgresql_server, schema)
    installation = Installation(tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle), **database.environment()})
    installation.must("migrate", "-v0")
    team, subject = min(add_demo(database))
    database.grant()
    installation.environment |= database.environment(role=True)
    installation.set_hyperparameters("bert: {epochs: 1}\nlstm: {epochs: 2, batch_size: 8}\n")

    installation.must("train_models", "--team", team, "--subject", subject, "--all-articles")

    trained = {row["algorithm"] for row in installation.rows() if row["success"]}
    assert trained == {"pubmed_bert", "lgbm_tfidf", "lstm"}
    assert "3 version folders, all complete and unchanged" in installation.must("verify_models")


# The specification of an attempt that a later one has replaced.
SUPERSEDED = (
    OPEN_RUN
    + """
from gregory.runs.diagnosis import Diagnosis
store.retry(spec, Diagnosis(summary="evicted"), handle=gone, counts=True)
print(spec.model_dump_json())
"""
)


SEEN = """
from gregory.database import run_token
from gregory.runs import store
from gregory.runs.spec import RunSpec
spec = RunSpec.model_validate_json({spec!r})
with run_token.of_attempt(spec.attempt_token):
    print(store.is_unfinished(spec), repr(store.overriding(spec, spec.algorithms)))
"""


def test_a_superseded_attempt_is_not_taken_for_an_overridden_one(installation: Installation):
    spec = installation.run_code(SUPERSEDED).strip()
    installation.environment |= {"POSTGRES_USER": RUN_ROLE, "POSTGRES_PASSWORD": RUN_PASSWORD}

    assert installation.run_code(SEEN.format(spec=spec)) == "False ''\n"


def test_a_superseded_attempt_writes_nothing(database: LiveDatabase, installation: Installation):
    spec = installation.run_code(SUPERSEDED).strip()
    before = database.execute("SELECT * FROM gregory_runs_trainingrun"), database.rows()

    variables = {**installation.environment, "POSTGRES_USER": RUN_ROLE, "POSTGRES_PASSWORD": RUN_PASSWORD, "GREGORY_RUN_SPEC": spec}
    done = subprocess.run([sys.executable, "-m", "job"], cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=600)

    assert (done.returncode, done.stderr) == (1, "")
    assert (database.execute("SELECT * FROM gregory_runs_trainingrun"), database.rows()) == before
