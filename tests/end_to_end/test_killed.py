"""The rows of a killed run contain the reason. Real processes, real signals, a real memory limit."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.trainings import SUBJECT, processes, training, wait_for
from tests.strict import need
from tools.installation import REPOSITORY, Installation


def test_a_killed_worker_closes_its_own_row_and_the_next_algorithms_still_train(long_lstm: Installation):
    with long_lstm.start("train_models", *SUBJECT, "--algo", "lstm,lgbm_tfidf", "--verbose", "3") as command:
        training(long_lstm, command, "lstm").send_signal(signal.SIGKILL)
        output, _ = command.communicate(timeout=600)

    assert command.returncode == 1
    lstm, lgbm = long_lstm.rows()
    assert (lstm["success"], lstm["reason"]) == (False, "killed")
    assert lstm["error"].startswith("the worker was killed by signal 9 (SIGKILL) in stage train-lstm after ")
    assert "at: epoch " in lstm["error"]
    assert "peak memory" in lstm["error"]
    assert lgbm["success"] is True
    hint = f"resume it with: python manage.py train_models --resume {lstm['run_id']}"
    assert output.splitlines()[-1] == f"CommandError: 1 of 2 trainings failed; {hint}"
    assert not list(long_lstm.models.glob("neurology/migraine-prevention/lstm/*"))


def test_a_killed_command_ends_its_run_and_reconcile_closes_the_other_rows(long_lgbm: Installation):
    with long_lgbm.start("train_models", "--team", "neurology", "--algo", "lgbm_tfidf") as command:
        worker = training(long_lgbm, command, "lgbm_tfidf")
        (job,) = processes(command, "-m job")
        command.kill()
        command.wait()
        wait_for(lambda: not job.is_running() and not worker.is_running())

        started, waiting = long_lgbm.rows()
        # The run closed its own row. The next subject was not started, so only the reconciler can close its row.
        assert (started["success"], started["reason"]) == (False, "interrupted")
        assert started["error"].startswith("interrupted: the command that started the run is gone in stage train-lgbm_tfidf")
        assert waiting["success"] is None

        report = long_lgbm.must("reconcile_runs", "--once")

    assert "1 unfinished run, 1 closed" in report
    started, waiting = long_lgbm.rows()
    assert (waiting["success"], waiting["reason"], waiting["state"]) == (False, "not_started", "failed")
    assert waiting["error"].startswith("never started: the command that queued it is gone (process ")
    assert "0 unfinished runs, 0 closed" in long_lgbm.must("reconcile_runs", "--once")


@pytest.mark.slow
def test_a_power_cut_leaves_rows_that_reconcile_closes(long_lgbm: Installation):
    with long_lgbm.start("train_models", *SUBJECT, "--algo", "lgbm_tfidf,lstm") as command:
        worker = training(long_lgbm, command, "lgbm_tfidf")
        (job,) = processes(command, "-m job")
        alive = long_lgbm.must("reconcile_runs", "--once")
        for process in (command, job, worker):
            process.send_signal(signal.SIGKILL)
        command.wait()

    assert f"left alone: process {job.pid} runs" in alive
    assert [row["success"] for row in long_lgbm.rows()] == [None, None]

    long_lgbm.must("reconcile_runs", "--once")

    rows = long_lgbm.rows()
    assert [(row["success"], row["reason"], row["state"]) for row in rows] == [(False, "lost", "failed")] * 2
    assert rows[0]["error"].endswith(f"process {job.pid} on {os.uname().nodename} ended without a report")
    assert not list(long_lgbm.models.glob("neurology/*/[!.]*/*"))


@pytest.mark.slow
def test_a_killed_run_is_closed_by_the_command_that_follows_it(long_lgbm: Installation):
    with long_lgbm.start("train_models", *SUBJECT, "--algo", "lgbm_tfidf,lstm") as command:
        training(long_lgbm, command, "lgbm_tfidf")
        (job,) = processes(command, "-m job")
        job.kill()
        output, _ = command.communicate(timeout=600)

    assert command.returncode == 1
    rows = long_lgbm.rows()
    assert {(row["success"], row["reason"]) for row in rows} == {(False, "killed")}
    hint = f"resume it with: python manage.py train_models --resume {rows[0]['run_id']}"
    assert output.splitlines()[-1] == f"CommandError: 2 of 2 trainings failed; {hint}"
    assert "the run's process was killed by signal 9 (SIGKILL)" in output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)])
def test_a_signal_to_the_command_ends_everything_and_closes_every_row(long_lgbm: Installation, number: signal.Signals, code: int):
    with long_lgbm.start("train_models", "--team", "neurology", "--algo", "lgbm_tfidf") as command:
        worker = training(long_lgbm, command, "lgbm_tfidf")
        command.send_signal(number)
        output, _ = command.communicate(timeout=600)

    assert command.returncode == code
    assert not worker.is_running()
    running, waiting = long_lgbm.rows()
    # The run that had not started cannot be resumed.
    hint = f"resume {running['team']}/{running['subject']} with: python manage.py train_models --resume {running['run_id']}"
    assert (
        output.splitlines()[-1] == f"CommandError: interrupted by signal {number.value} ({number.name}); every open row was closed; {hint}"
    )
    assert running["error"].startswith("interrupted by signal 15 (SIGTERM) in stage train-lgbm_tfidf")
    assert waiting["error"] == f"interrupted by signal {number.value} ({number.name}) before it was started"
    assert {(row["success"], row["reason"], row["state"]) for row in (running, waiting)} == {(False, "interrupted", "cancelled")}


def memory_group(limit: int) -> Path:
    """A new control group (v1 or v2) with this memory limit, in bytes."""
    for root, limit_file in ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"), (Path("/sys/fs/cgroup"), "memory.max")):
        group = root / f"gregory-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit_file).write_text(str(limit))
        except OSError:
            continue
        return group
    need(None, what="the right to make a memory control group", remedy="run the tests as root on a machine with cgroups")
    raise AssertionError("need() does not return without a group")


@pytest.mark.root
def test_a_worker_killed_for_memory_has_the_reason_out_of_memory_with_peak_and_limit(long_lstm: Installation):
    limit = 360 * 2**20
    group = memory_group(limit)
    try:
        enter = (
            f"import os, sys; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); os.execv(sys.executable, sys.argv[1:])"
        )
        argv = [sys.executable, str(REPOSITORY / "manage.py"), "train_models", *SUBJECT, "--algo", "lstm,lgbm_tfidf"]
        done = subprocess.run(
            [sys.executable, "-c", enter, *argv], cwd=REPOSITORY, env=long_lstm.environment, capture_output=True, text=True, timeout=600
        )
    finally:
        wait_for(lambda: not (group / "cgroup.procs").read_text().split())
        group.rmdir()

    assert done.returncode == 1, done.stdout + done.stderr
    lstm, lgbm = long_lstm.rows()
    assert (lstm["success"], lstm["reason"]) == (False, "out_of_memory"), lstm["error"]
    assert lstm["error"].startswith("out of memory: the kernel killed the worker (signal 9, SIGKILL) in stage train-lstm")
    assert "peak memory " in lstm["error"]
    assert "the limit is 360 MiB" in lstm["error"]
    assert lgbm["success"] is True, lgbm["error"]
