"""A lost node returns: two attempts of one run live at once. Real processes on one models folder."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gregory.ml import artifacts
from tests.end_to_end.trainings import wait_for
from tools.installation import REPOSITORY, Installation

pytestmark = pytest.mark.slow

OPEN_RUN = """
from django.conf import settings
from django.utils import timezone
from gregory.training import planning, request
from gregory.training.flags import TrainFlags
from gregory.management.runners import runner_named
from gregory.ml.config import Hyperparameters
from gregory.runs import store
flags = TrainFlags(team="neurology", subject="migraine-prevention", all_articles=True, algo="lgbm_tfidf")
wanted = request.from_flags(flags, hyperparameters=Hyperparameters())
(spec,) = planning.plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=False)
spec = store.open_run(spec, runner="local", handle=runner_named("local").owner_handle(), triggered_by="a test")
print(spec.model_dump_json())
"""
NEXT_ATTEMPT = """
from gregory.management.runners import runner_named
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunSpec
spec = RunSpec.model_validate(TrainingRun.objects.get().spec)
print(store.retry(spec, Diagnosis(summary="node lost"), handle=runner_named("local").owner_handle(), counts=True).model_dump_json())
"""


# The job waits before it publishes, until the test makes the file `go`.
WAITS = """
import os, pathlib, sys, time
from gregory.ml import renaming
folder, state_version = pathlib.Path(os.environ["TEST_SIGNS"]), renaming.state_version

def wait(*arguments):
    (folder / "reached").touch()
    while not (folder / "go").exists():
        time.sleep(0.1)
    state_version(*arguments)

renaming.state_version = wait
from job.__main__ import main
sys.exit(main())
"""


def trains(signs: Path, models: Path) -> bool:
    return any(models.glob(".runs/*/stages/train-lgbm_tfidf/in/request.json"))


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
        wait_for(lambda: reached(tmp_path, installation.models), seconds=120)
        stopped = [job, *job.children(recursive=True)]
        for process in stopped:
            process.suspend()
        with started(installation, NEXT_ATTEMPT, "-m", "job") as second:
            output = second.communicate(timeout=300)[0]
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
        output = first.communicate(timeout=120)[0]
    (tmp_path / "away").rename(database)

    assert (first.returncode, "superseded: a later attempt of the run works in the models folder" in output) == (1, True), output
    assert (artifacts.digest(folder), artifacts.verify(folder)) == (before, [])
    assert [path.name for path in folder.parent.iterdir()] == [row["version"]]
    assert installation.rows() == [row]
    assert "1 version folders, all complete and unchanged" in installation.must("verify_models")


@contextmanager
def started(installation: Installation, code: str, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Python with this command, and the specification that the code prints. It is killed at the end."""
    spec = installation.run_code(code).strip().splitlines()[-1]
    environment = {**os.environ, **installation.environment, "GREGORY_RUN_SPEC": spec}
    with subprocess.Popen(
        [sys.executable, *command], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
