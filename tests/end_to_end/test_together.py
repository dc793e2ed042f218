"""Several runs of the local runner at once: their shares of the processors, and the ends of all of them. Real processes, real signals."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from gregory.ml.resources import cpu_count
from gregory.runs.events import QUIET_SECONDS
from tests.end_to_end.trainings import processes, suspend_between_writes, wait_for
from tools.installation import REPOSITORY, Installation

NEUROLOGY = ("train_models", "--team", "neurology", "--algo", "lgbm_tfidf")
TOGETHER = {"GREGORY_LOCAL_RUNS": "2"}


def both_jobs(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of both runs, when each has a worker that trains."""
    wait_for(lambda: len(processes(command, "gregory.ml.stages", "train-lgbm_tfidf")) == 2)
    return processes(command, "-m job")


def without_waiting(path: str, flags: int) -> int:
    """Open a pipe so that a write to a full one returns None."""
    return os.open(path, flags | os.O_NONBLOCK)


def test_runs_at_once_share_the_processors(demo_installation: Installation):
    demo_installation.manage("train_models", "--all-teams", "--algo", "lgbm_tfidf", GREGORY_LOCAL_RUNS="3")

    manifests = [json.loads(path.read_text()) for path in demo_installation.models.glob("[!.]*/[!.]*/lgbm_tfidf/*/manifest.json")]
    assert [row["success"] for row in demo_installation.rows()] == [True] * 3
    assert [manifest["threads"] for manifest in manifests] == [max(1, cpu_count() // 3)] * 3


@pytest.mark.parametrize("moment", ["training", "starting", "after the end of one"])
def test_a_signal_ends_all_runs(long_lgbm: Installation, moment: str):
    with long_lgbm.start(*NEUROLOGY, **TOGETHER) as command:
        if moment == "starting":
            wait_for(lambda: [row for row in long_lgbm.rows() if row["state"] == "running"])
        else:
            both_jobs(command)
        if moment == "after the end of one":
            processes(command, "gregory.ml.stages", "train-lgbm_tfidf")[0].kill()
            wait_for(lambda: [row for row in long_lgbm.rows() if row["success"] is not None])
        jobs = processes(command, "-m job")
        command.send_signal(signal.SIGTERM)
        output, _ = command.communicate(timeout=600)

    assert command.returncode == 143
    assert not any(job.is_running() for job in jobs)
    assert "interrupted by signal 15 (SIGTERM); every open row was closed; resume" in output.splitlines()[-1]
    reasons = sorted(row["reason"] for row in long_lgbm.rows())
    assert reasons == ["interrupted", "killed" if moment == "after the end of one" else "interrupted"]
    interrupted = [row for row in long_lgbm.rows() if row["reason"] == "interrupted"]
    assert {(row["success"], row["state"]) for row in interrupted} == {(False, "cancelled")}
    assert all(row["error"].startswith("interrupted by signal 15 (SIGTERM)") for row in interrupted)


@pytest.mark.slow
def test_a_stopped_run_gets_its_grace_period_while_the_others_end(long_lgbm: Installation):
    with long_lgbm.start(*NEUROLOGY, **TOGETHER) as command:
        stopped, other = both_jobs(command)
        suspend_between_writes(stopped)
        command.send_signal(signal.SIGTERM)
        other.wait(20)
        command.communicate(timeout=600)

    assert (command.returncode, stopped.is_running()) == (143, False)
    assert {(row["reason"], row["success"]) for row in long_lgbm.rows()} == {("interrupted", False)}
    killed = "interrupted by signal 15 (SIGTERM), with its command; the run's process was killed by signal 9 (SIGKILL)"
    assert [row["error"].startswith(killed) for row in long_lgbm.rows()].count(True) == 1


def test_a_signal_ends_a_command_whose_output_nobody_reads(long_lgbm: Installation):
    argv = [sys.executable, str(REPOSITORY / "manage.py"), *NEUROLOGY]
    environment = {**long_lgbm.environment, **TOGETHER}
    with subprocess.Popen(argv, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as command:
        both_jobs(command)
        with open(f"/proc/{command.pid}/fd/1", "wb", buffering=0, opener=without_waiting) as output:
            while output.write(bytes(4096)):
                pass
        # The command now waits until somebody reads its next line.
        time.sleep(QUIET_SECONDS + 1)
        command.send_signal(signal.SIGTERM)
        try:
            command.wait(60)
        finally:
            command.kill()

    assert command.returncode == 143
    assert {row["reason"] for row in long_lgbm.rows()} == {"interrupted"}


def test_the_end_of_one_run_leaves_the_others(long_lgbm: Installation):
    with long_lgbm.start(*NEUROLOGY, **TOGETHER) as command:
        killed, other = both_jobs(command)
        killed.kill()
        ended = wait_for(lambda: [row for row in long_lgbm.rows() if row["success"] is not None])
        works = other.is_running()
        command.kill()
        command.wait()
        wait_for(lambda: not other.is_running())

    assert ([row["reason"] for row in ended], works) == (["killed"], True)
    assert sorted(row["reason"] for row in long_lgbm.rows()) == ["interrupted", "killed"]
