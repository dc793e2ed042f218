"""Trainings in progress: their processes, and the moment at which a test acts on them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil

from tools.installation import REPOSITORY, Installation

SUBJECT = ("--team", "neurology", "--subject", "migraine-prevention")
T = TypeVar("T")

# Opens the run of a subject with LightGBM and prints its specification.
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
# The job waits before it publishes, until the test makes the file `go`.
WAITS = """
import os, pathlib, sys, time
from gregory.ml import renaming
folder, state_row = pathlib.Path(os.environ["TEST_SIGNS"]), renaming.state_row

def wait(*arguments):
    (folder / "reached").touch()
    while not (folder / "go").exists():
        time.sleep(0.1)
    state_row(*arguments)

renaming.state_row = wait
from job.__main__ import main
sys.exit(main())
"""


# Whether a run has written a heartbeat since it began to train this algorithm.
HEARD = """
SELECT 1 FROM gregory_predictionrunlog log JOIN gregory_runs_algorithmrun algorithm ON algorithm.run_log_id = log.id
  JOIN gregory_runs_trainingrun run ON run.run_id = algorithm.run_id
WHERE log.algorithm = '{}' AND run.heartbeat_at >= log.run_started
"""


def wait_for(find: Callable[[], T], *, seconds: float = 300) -> T:
    """The first true value of `find`, which is called every 0.1 s.

    Raises AssertionError when `seconds` have passed.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def wait_for_a_heartbeat(installation: Installation, algorithm: str) -> None:
    """Wait for the first heartbeat of the training of an algorithm, which has begun."""
    wait_for(lambda: installation.select(HEARD.format(algorithm)))


def has_ended(process: psutil.Process) -> bool:
    """Whether a process has ended. The parent of a run reaps it at once, that of other processes later."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def suspend_between_writes(job: psutil.Process) -> None:
    """Stop a run while it does not have the file of SQLite open. A run that is stopped during a write keeps the lock of the file."""

    def suspended() -> bool:
        job.suspend()
        if any(Path(file.path).name == "db.sqlite3" for file in job.open_files()):
            job.resume()
            return False
        return True

    wait_for(suspended)


def processes(command: subprocess.Popen[str], *words: str) -> list[psutil.Process]:
    """The descendants of a command whose command line has these words."""
    found = []
    for process in psutil.Process(command.pid).children(recursive=True):
        try:
            if all(word in " ".join(process.cmdline()) for word in words):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def training(installation: Installation, command: subprocess.Popen[str], algorithm: str) -> psutil.Process:
    """The worker of an algorithm, when it is in its second epoch or has boosted some rounds."""

    def find() -> psutil.Process | None:
        events = "".join(path.read_text() for path in installation.models.glob("[!.]*/[!.]*/.runs/[!.]*/events-*.jsonl"))
        workers = processes(command, "gregory.ml.stages", f"train-{algorithm}")
        return workers[0] if workers and ("epoch 2/" in events or "round 20/" in events) else None

    return wait_for(find)


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
