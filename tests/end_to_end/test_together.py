"""Several runs of the local runner at once: their shares of the processors, and the ends of all of them. Real processes, real signals."""

import json
import signal
import subprocess

import psutil

from gregory.ml.resources import cpu_count
from tests.end_to_end.trainings import processes, wait_for
from tools.installation import Installation

NEUROLOGY = ("train_models", "--team", "neurology", "--algo", "lgbm_tfidf")
TOGETHER = {"GREGORY_LOCAL_RUNS": "2"}


def both_jobs(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes of both runs, when each has a worker that trains."""
    wait_for(lambda: len(processes(command, "gregory.ml.stages", "train-lgbm_tfidf")) == 2)
    return processes(command, "-m job")


def test_runs_at_once_share_the_processors(demo_installation: Installation):
    demo_installation.manage("train_models", "--all-teams", "--algo", "lgbm_tfidf", GREGORY_LOCAL_RUNS="3")

    manifests = [json.loads(path.read_text()) for path in demo_installation.models.glob("[!.]*/[!.]*/lgbm_tfidf/*/manifest.json")]
    assert [row["success"] for row in demo_installation.rows()] == [True] * 3
    assert [manifest["threads"] for manifest in manifests] == [max(1, cpu_count() // 3)] * 3


def test_a_signal_ends_all_runs_at_work(long_lgbm: Installation):
    with long_lgbm.start(*NEUROLOGY, **TOGETHER) as command:
        jobs = both_jobs(command)
        command.send_signal(signal.SIGTERM)
        output, _ = command.communicate(timeout=600)

    assert command.returncode == 143
    assert not any(job.is_running() for job in jobs)
    assert "interrupted by signal 15 (SIGTERM); every open row was closed; resume" in output.splitlines()[-1]
    rows = long_lgbm.rows()
    assert {(row["success"], row["reason"], row["state"]) for row in rows} == {(False, "interrupted", "cancelled")}
    assert {row["error"].partition(" in stage ")[0] for row in rows} == {"interrupted by signal 15 (SIGTERM)"}


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
