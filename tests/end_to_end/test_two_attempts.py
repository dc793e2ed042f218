"""A lost node returns: two attempts of one run live at once. Real processes on one models folder."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gregory.ml import artifacts
from tests.end_to_end.trainings import OPEN_RUN, WAITS, started, suspend_between_writes, wait_for
from tools.installation import Installation

pytestmark = pytest.mark.slow

NEXT_ATTEMPT = """
from gregory.management.runners import runner_named
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunSpec
spec = RunSpec.model_validate(TrainingRun.objects.get().spec)
print(store.retry(spec, Diagnosis(summary="node lost"), handle=runner_named("local").owner_handle(), counts=True).model_dump_json())
"""


def trains(signs: Path, models: Path) -> bool:
    return any(models.glob("[!.]*/[!.]*/.runs/[!.]*/stages/train-lgbm_tfidf/in/request.json"))


def waits(signs: Path, models: Path) -> bool:
    return (signs / "reached").exists()


@pytest.mark.parametrize(
    ("command", "reached"),
    [(("-m", "job"), trains), (("-c", WAITS), waits)],
    ids=["in training", "before the publication"],
)
def test_the_earlier_attempt_publishes_nothing(
    installation: Installation,
    demo_database: Path,
    tmp_path: Path,
    command: tuple[str, str],
    reached: Callable[[Path, Path], bool],
):
    database = tmp_path / "database"
    database.mkdir()
    installation.environment["SQLITE_FILE"] = str(shutil.copy(demo_database, database / "db.sqlite3"))
    installation.environment["TEST_SIGNS"] = str(tmp_path)
    with started(installation, OPEN_RUN, *command) as first:
        job = psutil.Process(first.pid)
        wait_for(lambda: reached(tmp_path, installation.models))
        suspend_between_writes(job)
        stopped = [job, *job.children(recursive=True)]
        for process in stopped[1:]:
            process.suspend()
        with started(installation, NEXT_ATTEMPT, "-m", "job") as second:
            output = second.communicate(timeout=600)[0]
        assert second.returncode == 0, output
        (row,) = installation.rows()
        assert (row["success"], row["state"], row["attempt"]) == (True, "succeeded", 2)
        folder = installation.models / row["artifact"]
        before = artifacts.digest(folder)
        database.rename(tmp_path / "away")
        (tmp_path / "go").touch()
        for process in reversed(stopped):
            if process.is_running():
                process.send_signal(signal.SIGCONT)
        output = first.communicate(timeout=600)[0]
    (tmp_path / "away").rename(database)

    assert (first.returncode, "superseded: a later attempt of the run works in the models folder" in output) == (1, True), output
    assert (artifacts.digest(folder), artifacts.verify(folder)) == (before, [])
    assert [path.name for path in folder.parent.iterdir()] == [row["version"]]
    assert installation.rows() == [row]
    assert "1 version folder, all complete and unchanged" in installation.must("verify_models")
