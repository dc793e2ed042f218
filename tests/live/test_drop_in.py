"""On a GregoryAI database: the tables of this project change none of its tables, and prevent none of its statements."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.live.database import LABELLED, SCHEMAS, LiveDatabase, live
from tools.installation import Installation
from tools.postgresql import Server

SUBJECT = ("--team", "neurology", "--subject", "ms")


@dataclass(frozen=True, kw_only=True)
class Living:
    """One database at four times. The installation between them trained with the role of least privileges."""

    schema: str
    plan: str
    untouched: LiveDatabase
    migrated: LiveDatabase
    trained: LiveDatabase
    # The rows of a second run are open, and its process has ended.
    working: LiveDatabase
    installation: Installation

    def at(self, database: LiveDatabase) -> Installation:
        """An installation on that database, with the same models."""
        return Installation(self.installation.folder, environment={**self.installation.environment, **database.environment(role=True)})


@pytest.fixture(scope="module", params=SCHEMAS)
def living(
    request: pytest.FixtureRequest, postgresql_server: Server, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Living:
    database = live(postgresql_server, request.param)
    environment = {"GREGORY_BASE_MODELS": str(small_bundle), **database.environment()}
    installation = Installation(tmp_path_factory.mktemp(request.param), environment=environment)
    untouched, plan = database.clone(), installation.must("migrate", "--plan", "--no-color")
    installation.must("migrate", "-v0")
    migrated = database.clone()
    database.grant()
    installation.environment |= database.environment(role=True)
    installation.must("train_models", *SUBJECT, "--algo", "lgbm_tfidf")
    trained = database.clone()
    installation.run_code(OPEN_RUN)
    return Living(
        schema=request.param,
        plan=plan,
        untouched=untouched,
        migrated=migrated,
        trained=trained,
        working=database,
        installation=installation,
    )


def test_migrate_changes_nothing_of_theirs_and_ours_appears(living: Living):
    before, after = living.untouched, living.migrated
    # The database at migration 0001 gets the changes of GregoryAI's migration 0002.
    pending = living.schema == "long_lived"

    planned = [
        line
        for line in living.plan.splitlines()
        if line[:1].isalpha() and "." in line and not line.startswith(("gregory_runs.", "gregory_data."))
    ]
    assert planned == (["gregory.0002_predictionrunlog_algorithm"] if pending else [])
    gained = {("column", "gregory_predictionrunlog", "algorithm character varying(20)  ")} if pending else set()
    assert after.catalog() - before.catalog() == gained
    assert before.catalog() - after.catalog() == set()
    rows = before.rows()
    assert {name for name, digest in after.rows().items() if rows[name] != digest} == ({"gregory_predictionrunlog"} if pending else set())
    for table, told in before.records().items():
        assert told <= after.records()[table], table
    ours = after.execute("SELECT tablename FROM pg_tables WHERE tablename ~ '^gregory_(runs|data)_' ORDER BY 1")
    assert ours == [
        ("gregory_data_importedarticle",),
        ("gregory_runs_algorithmrun",),
        ("gregory_runs_operatoraction",),
        ("gregory_runs_runevent",),
        ("gregory_runs_trainingrun",),
    ]
    if pending:
        assert after.execute("SELECT DISTINCT algorithm FROM gregory_predictionrunlog") == [("unknown",)]


def test_it_trains_from_every_label_and_writes_nothing_but_a_run_log(living: Living):
    before, after = living.migrated.rows(), living.trained.rows()
    last = "SELECT algorithm, model_version, run_type, success, error_message FROM gregory_predictionrunlog ORDER BY id DESC LIMIT 1"
    ((algorithm, version, *rest),) = living.trained.execute(last)

    assert {name for name in after if after[name] != before[name]} == {"gregory_predictionrunlog"}
    # Rows of GregoryAI's own trainer keep their versions. Rows older than the column count for no algorithm.
    ((today,),) = living.untouched.execute(r"SELECT model_version FROM gregory_predictionrunlog WHERE model_version ~ '^\d{8}$'")
    assert (algorithm, version) == ("lgbm_tfidf", today if living.schema == "long_lived" else f"{today}_3")
    assert rest == ["train", True, None]
    manifest = json.loads((living.installation.models / "neurology/ms/lgbm_tfidf" / version / "manifest.json").read_text())
    # Six odd articles: no summary, an empty one, mark-up, one of 4,000 words, one that is not in the subject, and one like a formula.
    assert (manifest["data"]["labelled"], manifest["data"]["title_only"]) == (LABELLED + 6, 2)


@pytest.mark.slow
@pytest.mark.parametrize("living", ["newest"], indirect=True)
def test_a_file_trains_elsewhere_from_the_same_data_set(living: Living, installation: Installation, tmp_path: Path):
    """Export with the role of least privileges, import into SQLite, and train there."""
    said = living.at(living.trained).must("export_training_data", *SUBJECT, "--all-articles", "--output-dir", str(tmp_path / "out"))
    (file,) = (tmp_path / "out").iterdir()

    installation.must("import_articles", str(file), "--team", "there", "--subject", "ms")
    installation.must("train_models", "--team", "there", "--algo", "lgbm_tfidf")

    assert said.startswith("neurology/ms: 63 relevant and 63 not relevant articles to ")
    assert file.name == f"neurology_ms_{datetime.now(UTC):%Y%m%d}.csv"
    here, there = (
        json.loads(next(models.glob("*/ms/lgbm_tfidf/*/manifest.json")).read_text())
        for models in (living.installation.models, installation.models)
    )
    assert there["data"]["fingerprint"] == here["data"]["fingerprint"]
    assert there["data"]["parts"] == here["data"]["parts"]
    assert there["probe"] == here["probe"]


def test_all_teams_leaves_out_what_was_deactivated_or_lost(living: Living):
    installation = living.at(living.trained)
    planned = json.loads(installation.must("train_models", "--all-teams", "--dry-run", "--output", "json"))
    archive = installation.manage("train_models", "--team", "archive", "--dry-run")

    teams = ["neurology"] if living.schema == "newest" else ["archive", "neurology"]
    assert sorted({row["team"] for row in planned}) == teams
    assert {row["subject"] for row in planned} == {"ms"}
    if living.schema == "newest":
        assert archive.returncode == 2
        assert archive.stderr.splitlines()[-1] == (
            "CommandError: team 'archive' was deactivated in GregoryAI; activate it there, or choose another"
        )
    else:
        assert archive.returncode == 0


# Statements of GregoryAI's admin when it clears logs or deletes: children first, and only tables that it knows.
CLEAR_LOGS = "DELETE FROM gregory_predictionrunlog WHERE run_started < now() + interval '1 day'"
OF_SUBJECTS = """
DELETE FROM gregory_predictionrunlog WHERE subject_id IN ({0});
DELETE FROM articles_ml_predictions WHERE mlpredictions_id IN (SELECT id FROM gregory_mlpredictions WHERE subject_id IN ({0}));
DELETE FROM gregory_mlpredictions WHERE subject_id IN ({0});
DELETE FROM gregory_articlesubjectrelevance WHERE subject_id IN ({0});
DELETE FROM articles_subjects WHERE subject_id IN ({0});
DELETE FROM subjects WHERE id IN ({0});
"""
DELETE_SUBJECT = OF_SUBJECTS.format("1")
DELETE_TEAM = f"""
{OF_SUBJECTS.format("SELECT id FROM subjects WHERE team_id = 1")}
DELETE FROM gregory_predictionrunlog WHERE team_id = 1;
DELETE FROM articles_teams WHERE team_id = 1;
DELETE FROM gregory_team WHERE id = 1;
"""
# SQL by hand: parents first, in one transaction. The constraints decide the rest.
BY_HAND = f"""
SET CONSTRAINTS ALL DEFERRED;
DELETE FROM gregory_predictionrunlog;
{OF_SUBJECTS.format("1, 2, 3")}
DELETE FROM articles_teams;
DELETE FROM gregory_team;
DELETE FROM articles;
DELETE FROM organizations_organization;
"""


# Every command that reads runs.
COMMANDS = """
import json, sys
from io import StringIO
from django.core.management import CommandError, call_command
from gregory.runs.models import TrainingRun

def said(*command, **flags):
    out = StringIO()
    try:
        call_command(*command, stdout=out, stderr=out, no_color=True, **flags)
    except CommandError as error:
        out.write(str(error))
    return out.getvalue().strip()

runs = list(TrainingRun.objects.order_by("queued_at").values_list("run_id", flat=True))
print(json.dumps({
    "reconciled": said("reconcile_runs", "--once"), "listed": said("training_runs", "list", "--output", "json"),
    "of_team": said("training_runs", "list", "--team", "neurology"), "shown": [said("training_runs", "show", run) for run in runs],
    "resumed": said("train_models", "--resume", runs[1]), "verified": said("verify_models"),
    "again": said("train_models", "--team", "neurology", "--subject", "ms", "--algo", "lgbm_tfidf", "--dry-run"),
}))
"""


@pytest.mark.parametrize("statements", [CLEAR_LOGS, DELETE_SUBJECT, DELETE_TEAM, BY_HAND], ids=["logs", "subject", "team", "by_hand"])
def test_their_deletes_work_and_what_is_left_of_ours_bothers_nobody(living: Living, statements: str):
    database = living.working.clone()

    database.execute(statements)

    told = json.loads(living.at(database).run_code(COMMANDS))
    # A run without rows ends too, and its subject can be trained again.
    assert told["reconciled"].endswith("1 unfinished run, 1 closed")
    assert sorted(run["state"] for run in json.loads(told["listed"])) == ["failed", "succeeded"]
    assert [text.splitlines()[0].partition(":")[0][-12:] for text in told["shown"]] == ["neurology/ms"] * 2
    # A model without a row is still a model.
    assert told["verified"] == "1 version folder, all complete and unchanged"
    again = told["again"].splitlines()[-1]
    if statements == CLEAR_LOGS:
        # The folder has the version if no row has it.
        assert again.split()[:3] == ["neurology", "ms", "lgbm_tfidf"]
    else:
        assert again.startswith(("unknown team 'neurology'; ", "team 'neurology' has no subject 'ms'; "))
        assert told["of_team"] == "no run"


def test_a_cascade_of_the_database_itself_passes_through(living: Living):
    """In the newest schema, the database deletes the subjects of a deleted team."""
    database = living.working.clone()
    database.execute(OF_SUBJECTS.format("1, 2").replace("DELETE FROM subjects WHERE id IN (1, 2);", ""))
    database.execute("DELETE FROM articles_teams")

    cascades = living.schema == "newest"
    if not cascades:
        database.execute("DELETE FROM subjects WHERE id IN (1, 2)")
    database.execute("DELETE FROM gregory_team WHERE id IN (1, 2)")

    assert database.execute("SELECT count(*) FROM subjects WHERE id IN (1, 2)") == [(0,)]
    assert database.execute("SELECT state FROM gregory_runs_trainingrun ORDER BY queued_at") == [("succeeded",), ("running",)]


OPEN_RUN = """
import os
from django.conf import settings
from django.utils import timezone
from gregory.training import planning, request
from gregory.training.flags import TrainFlags
from gregory.ml.config import Hyperparameters
from gregory.launch import processes
from gregory.runs import store
flags = TrainFlags(team="neurology", subject="ms", all_articles=True, algo="lgbm_tfidf,lstm")
wanted = request.from_flags(flags, hyperparameters=Hyperparameters())
(spec,) = planning.plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=False)
gone = processes.handle_of(os.getpid()).model_copy(update={"name": "999999999"})
spec = store.open_run(spec, runner="local", handle=gone, triggered_by="a test")
store.mark_submitted(spec, gone)
store.claim(spec, gone, image_digest="")
"""
