"""Ends that a run cannot write to the database: without a database, interrupted with retries, or hung. Real processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gregory.runs import report_key
from gregory.runs.spec import RunOutcome
from tests.end_to_end.trainings import SUBJECT, has_ended, processes, suspend_between_writes, training, wait_for, wait_for_a_heartbeat
from tools.installation import REPOSITORY, Installation

AN_HOUR_AGO = """
from datetime import timedelta
from django.db.models.functions import Now
from gregory.runs.models import TrainingRun
hour_ago = Now() - timedelta(hours=1)
TrainingRun.objects.update(heartbeat_at=hour_ago, progress_at=hour_ago)
"""
OPEN_RUN = """
from django.conf import settings
from django.utils import timezone
from gregory.training import planning, request
from gregory.training.flags import TrainFlags
from gregory.management.runners import runner_named
from gregory.ml.config import Hyperparameters
from gregory.runs import store
flags = TrainFlags(team="neurology", subject="migraine-prevention", all_articles=True, algo="lgbm_tfidf,lstm")
wanted = request.from_flags(flags, hyperparameters=Hyperparameters())
(spec,) = planning.plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=False)
spec = store.open_run(spec, runner="local", handle=runner_named("local").owner_handle(), triggered_by="a test")
print(spec.model_dump_json())
"""
# The job with short pauses between its attempts to reach the database.
IMPATIENT_JOB = (
    "import sys; from gregory.runs import db_retry; db_retry.PAUSES = (0.2, 0.2); from job.__main__ import main; sys.exit(main())"
)


def outcome_of(installation: Installation) -> RunOutcome:
    (file,) = installation.models.glob("[!.]*/[!.]*/.runs/[!.]*/outcome.json")
    return report_key.without_signature(RunOutcome.model_validate_json(file.read_text()))


def test_a_training_without_its_database_is_recovered_from_its_report(installation: Installation, demo_database: Path, tmp_path: Path):
    database = tmp_path / "database"
    database.mkdir()
    installation.environment["SQLITE_FILE"] = str(shutil.copy(demo_database, database / "db.sqlite3"))
    spec, log = installation.run_code(OPEN_RUN).strip().splitlines()[-1], tmp_path / "termination-log"
    environment = {**installation.environment, "GREGORY_RUN_SPEC": spec, "GREGORY_TERMINATION_LOG": str(log)}
    job = subprocess.Popen([sys.executable, "-c", IMPATIENT_JOB], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        for line in job.stdout:
            if "Started training" in line:
                # The first heartbeat of the stage must come before.
                wait_for_a_heartbeat(installation, "lgbm_tfidf")
                database.rename(tmp_path / "away")
                break
        said = job.communicate(timeout=300)[0]
    finally:
        job.kill()
    (tmp_path / "away").rename(database)

    assert job.returncode == 1, said
    assert "Giving up: the database could not be reached: unable to open database file" in said
    told = outcome_of(installation)
    assert [(end.algorithm, end.success) for end in told.algorithms] == [("lgbm_tfidf", True)]
    assert told.interrupted == "the database could not be reached: unable to open database file"
    assert report_key.without_signature(RunOutcome.model_validate_json(log.read_text())) == told
    assert [row["success"] for row in installation.rows()] == [None, None]

    report = installation.must("reconcile_runs", "--once")

    lgbm, lstm = installation.rows()
    assert (lgbm["success"], lgbm["metrics"]) == (True, told.algorithms[0].metrics)
    assert lgbm["data"]["labelled"] > 0
    assert (lstm["success"], lstm["reason"], lstm["state"]) == (False, "interrupted", "failed")
    assert lstm["error"].startswith("the database could not be reached: unable to open database file; ")
    assert "closed (interrupted)" in report


@pytest.mark.slow
def test_an_interrupted_run_with_retries_leaves_its_rows_open(long_lgbm: Installation):
    with long_lgbm.start("train_models", *SUBJECT, "--algo", "lgbm_tfidf,lstm", GREGORY_RETRIED="true") as command:
        training(long_lgbm, command, "lgbm_tfidf")
        (job,) = processes(command, "-m job")
        # The command must not close the rows before the test has read them.
        command.send_signal(signal.SIGSTOP)
        job.terminate()
        wait_for(lambda: has_ended(job))
        assert [row["success"] for row in long_lgbm.rows()] == [None, None]
        assert outcome_of(long_lgbm).interrupted.startswith("interrupted by signal 15 (SIGTERM) in stage train-lgbm_tfidf after ")
        command.send_signal(signal.SIGCONT)
        command.communicate(timeout=300)

    rows = long_lgbm.rows()
    assert {(row["success"], row["reason"], row["state"], row["exit_code"]) for row in rows} == {(False, "interrupted", "failed", 143)}
    assert rows[0]["error"].startswith("interrupted by signal 15 (SIGTERM) in stage train-lgbm_tfidf after ")


@pytest.mark.slow
@pytest.mark.parametrize("stopped", ["worker", "run"])
def test_a_run_that_hangs_is_terminated_as_stalled(long_lgbm: Installation, stopped: str):
    with long_lgbm.start("train_models", *SUBJECT, "--algo", "lgbm_tfidf,lstm", TEST_HEARTBEAT_SECONDS="1") as command:
        worker = training(long_lgbm, command, "lgbm_tfidf")
        (job,) = processes(command, "-m job")
        if stopped == "worker":
            worker.suspend()
        else:
            suspend_between_writes(job)
            # A run that lives and is silent may be cut off from the database. So its limit is 910 s.
            long_lgbm.run_code(AN_HOUR_AGO)
        assert "left alone" in long_lgbm.must("reconcile_runs", "--once")

        def ended() -> bool:
            done = long_lgbm.manage("reconcile_runs", "--once", GREGORY_STALL_AFTER="10")
            assert done.returncode == 0, done.stderr
            return has_ended(job)

        wait_for(ended)
        command.communicate(timeout=300)

    assert command.returncode == 1
    rows = long_lgbm.rows()
    assert {(row["success"], row["reason"], row["run_reason"], row["state"]) for row in rows} == {(False, "stalled", "stalled", "failed")}
    cause = "no progress for " if stopped == "worker" else "no heartbeat for "
    assert rows[0]["error"].startswith(f"stalled: {cause}")
    assert has_ended(worker)


@pytest.mark.slow
def test_runs_are_listed_shown_read_and_cancelled(long_lgbm: Installation):
    with long_lgbm.start("train_models", "--team", "neurology", "--algo", "lgbm_tfidf") as command:
        training(long_lgbm, command, "lgbm_tfidf")
        working, queued = (long_lgbm.rows()[number]["run_id"] for number in (0, 1))

        listed = json.loads(long_lgbm.must("training_runs", "list", "--output", "json"))
        shown = json.loads(long_lgbm.must("training_runs", "show", working, "--output", "json"))
        said = long_lgbm.must("training_runs", "logs", working)
        waiting = long_lgbm.must("training_runs", "cancel", queued)
        ended = long_lgbm.must("training_runs", "cancel", working)
        output, _ = command.communicate(timeout=300)

    assert {(run["run_id"], run["state"]) for run in listed} == {(working, "running"), (queued, "pending")}
    assert (shown["state"], shown["algorithms"][0]["stage"], shown["commands"][0]) == (
        "running",
        "train",
        f"ps -fp {shown['external_name']}",
    )
    assert "round 20/" in said
    assert "INFO" in said.splitlines()[0]
    assert waiting.startswith(f"run {queued} cancelled (cancelled): cancelled by ")
    assert waiting.strip().endswith(" before it was started")
    assert ended.startswith(f"run {working} cancelled (cancelled): cancelled by ")
    assert command.returncode == 1
    assert f"run {queued} was ended while it was queued" in output
    rows = long_lgbm.rows()
    assert {(row["success"], row["reason"], row["state"]) for row in rows} == {(False, "cancelled", "cancelled")}
    assert re.match(rf"cancelled by \S+@{os.uname().nodename} in stage train-lgbm_tfidf after ", rows[0]["error"])
    assert f": {rows[0]['error']}\n" in output
    assert "SIGTERM" not in output

    retried = long_lgbm.must("training_runs", "list", "--state", "cancelled")
    assert working in retried
    gone = long_lgbm.manage("training_runs", "show", "nosuchrun")
    assert (gone.returncode, gone.stderr.partition(";")[0]) == (2, "CommandError: there is no run nosuchrun")
    assert long_lgbm.manage("training_runs").returncode == 2


def test_a_reconciler_with_an_interval_ends_on_sigterm(installation: Installation):
    alive = installation.folder / "alive"
    with installation.start("reconcile_runs", "--interval", "1", GREGORY_LIVENESS_FILE=str(alive)) as reconciler:
        wait_for(alive.exists)
        written = alive.stat().st_mtime_ns
        wait_for(lambda: alive.stat().st_mtime_ns > written)
        assert reconciler.poll() is None
        reconciler.terminate()
        output, _ = reconciler.communicate(timeout=300)

    assert (reconciler.returncode, output) == (0, "")
