"""GregoryAI's admin and its commands change rows during a training: output, exit code, records, rows and folders agree."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.live.database import LiveDatabase, live
from tests.live.test_drop_in import CLEAR_LOGS, DELETE_SUBJECT
from tools.installation import Installation
from tools.postgresql import Server

# The statements of the actions in GregoryAI's admin.
MARK = "UPDATE gregory_predictionrunlog SET success = {0}, run_finished = now(){1} WHERE success IS NULL AND algorithm = 'lstm'"
MARK_AS_FAILED = MARK.format("false", ", error_message = 'Manually marked as failed by admin.'")
MARK_AS_SUCCESSFUL = MARK.format("true", "")
TRAIN = ("train_models", "--team", "neurology", "--subject", "ms", "--algo", "lstm,lgbm_tfidf", "--verbose", "3", "--no-color")
OURS = """
SELECT run.state, run.reason, array_agg(record.stage || ' ' || record.reason ORDER BY position)
FROM gregory_runs_trainingrun run JOIN gregory_runs_algorithmrun record USING (run_id) GROUP BY run.state, run.reason
"""


@pytest.fixture
def database(postgresql_server: Server) -> LiveDatabase:
    return live(postgresql_server, "newest")


@pytest.fixture
def live_installation(database: LiveDatabase, small_bundle: Path, tmp_path: Path) -> Installation:
    """GregoryAI's database with an LSTM that trains for long enough to be seen. No row of GregoryAI's own trainer is open."""
    environment = {"GREGORY_BASE_MODELS": str(small_bundle), "TEST_HEARTBEAT_SECONDS": "1", **database.environment()}
    installation = Installation(tmp_path / "installation", environment=environment)
    installation.must("migrate", "-v0")
    database.execute("UPDATE gregory_predictionrunlog SET success = true")
    return installation


def train_and(statements: str, database: LiveDatabase, installation: Installation, *, epochs: int) -> tuple[int, str]:
    """Exit code and output of a command, during whose LSTM another program executes these statements."""
    installation.set_hyperparameters(f"lstm: {{epochs: {epochs}, patience: {epochs}}}\n")
    with installation.start(*TRAIN) as command:
        _wait_for_the_lstm(installation, command)
        database.execute(statements)
        output, _ = command.communicate(timeout=600)
    return command.returncode, output


def _wait_for_the_lstm(installation: Installation, command: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while not list(installation.models.glob("[!.]*/[!.]*/.runs/[!.]*/stages/train-lstm/in/request.json")):
        assert time.monotonic() < deadline
        assert command.poll() is None, command.communicate()[0]
        time.sleep(0.05)


def folders(installation: Installation) -> list[str]:
    return sorted(path.name for path in installation.models.glob("neurology/ms/[!.]*"))


def rows(database: LiveDatabase) -> list[tuple[object, ...]]:
    return database.execute(
        "SELECT algorithm, success, error_message FROM gregory_predictionrunlog WHERE triggered_by LIKE 'train_models%' ORDER BY id"
    )


@pytest.mark.slow
def test_mark_as_failed_ends_that_training_and_the_next_one_trains(database, live_installation):
    code, output = train_and(MARK_AS_FAILED, database, live_installation, epochs=5000)

    assert code == 1, output
    assert "another program ended row " in output
    assert "Manually marked as failed by admin." in output
    assert output.splitlines()[-1] == "CommandError: 1 of 2 trainings failed"
    assert "failed: overridden" in output
    assert rows(database) == [("lstm", False, "Manually marked as failed by admin."), ("lgbm_tfidf", True, None)]
    assert database.execute(OURS) == [("failed", "overridden", ["ended overridden", "ended "])]
    assert folders(live_installation) == ["lgbm_tfidf"]
    assert "1 version folder, all complete" in live_installation.must("verify_models")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statements", "cause"),
    [(CLEAR_LOGS, "another program deleted row "), (DELETE_SUBJECT, "the subject neurology/ms was deleted")],
    ids=["logs", "subject"],
)
def test_deleted_rows_end_the_run_and_nothing_is_published(database, live_installation, statements: str, cause: str):
    code, output = train_and(statements, database, live_installation, epochs=5000)

    assert code == 1, output
    assert cause in output
    assert output.splitlines()[-1] == "CommandError: 2 of 2 trainings failed"
    assert "Finished" not in output
    assert rows(database) == []
    assert database.execute(OURS) == [("failed", "overridden", ["ended overridden", "ended overridden"])]
    assert folders(live_installation) == []


@pytest.mark.slow
def test_mark_as_successful_waits_for_the_model(database, live_installation):
    code, output = train_and(MARK_AS_SUCCESSFUL, database, live_installation, epochs=3)

    assert code == 0, output
    assert rows(database) == [("lstm", True, None), ("lgbm_tfidf", True, None)]
    assert database.execute(OURS) == [("succeeded", "", ["ended ", "ended "])]
    assert folders(live_installation) == ["lgbm_tfidf", "lstm"]
    assert "2 version folders, all complete" in live_installation.must("verify_models")
