"""`training_runs` for runs of a back end that keeps its runs."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest

from gregory.launch.errors import PreconditionFailed, TerminationTimeout
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from tests.commands.cluster_runs import MS, ON_CLUSTER, QUEUED, begin, spec_now, succeed
from tests.commands.command_line import Result
from tests.reconcile.pretend_cluster import job

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("cluster")]


@pytest.mark.parametrize("limit", [0, 10**6 + 1, 2**64])
def test_a_list_has_a_limit_that_databases_take(shell, limit):
    done = shell("training_runs", "list", "--limit", str(limit))

    assert (done.code, done.err) == (2, f"CommandError: --limit {limit} must be from 1 to 1000000\n")


def test_show_prints_the_commands_of_the_cluster(shell, cluster):
    shell("train_models", *MS)
    cluster.jobs[job(spec_now())] = QUEUED
    shell("reconcile_runs", "--once")
    run_id = TrainingRun.objects.get().run_id

    done = shell("training_runs", "show", run_id)

    assert done.out.splitlines()[0] == f"run {run_id} of neurology/ms: submitted"
    assert f"  waiting for: {QUEUED.detail}" in done.out.splitlines()
    assert done.out.splitlines()[-2:] == ["commands for its back end:", f"  kubectl describe job run-{run_id}-a1"]


def test_the_list_has_the_whole_cause_for_which_a_queue_does_not_admit_a_run(shell, cluster):
    cause = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor default, 1 more needed"
    detail = f"queued: waits for Kueue's queue gpus: {cause}"
    shell("train_models", *MS)
    cluster.jobs[job(spec_now())] = replace(QUEUED, detail=detail)

    shell("reconcile_runs", "--once")

    assert detail in shell("training_runs", "list").out


def test_the_beginning_of_an_unknown_status_is_printed(shell):
    shell("train_models", *MS)
    TrainingRun.objects.update(unknown_since="2026-01-02T03:04:05Z")

    assert "unknown since 2026-01-02 03:04:05Z" in shell("training_runs", "list").out
    assert '"unknown_since": "2026-01-02T03:04:05Z"' in shell("training_runs", "list", "--output", "json").out
    assert "  unknown since: 2026-01-02T03:04:05Z" in shell("training_runs", "show", TrainingRun.objects.get().run_id).out.splitlines()


def test_a_followed_log_has_all_attempts_and_the_end_state(shell, cluster):
    shell("train_models", *MS)
    run_id = TrainingRun.objects.get().run_id
    cluster.steps = [begin, lambda: cluster.terminate(spec_now(), reason=Reason.EVICTED), begin, succeed]

    done = shell("training_runs", "logs", "--follow", run_id)

    assert done == Result(0, f"line of attempt 1\nline of attempt 2\nrun {run_id} attempt 2: succeeded\n", "")


def test_a_followed_log_of_a_failed_run_has_exit_code_1(shell, cluster):
    shell("train_models", *MS)
    run_id = TrainingRun.objects.get().run_id
    cluster.steps = [begin, lambda: cluster.terminate(spec_now(), reason=Reason.KILLED, summary="SIGKILL")]

    done = shell("training_runs", "logs", "-f", run_id)

    assert done == Result(1, "line of attempt 1\n", f"CommandError: run {run_id} failed (killed): SIGKILL\n")


def test_a_run_out_of_sight_is_followed_while_it_writes_heartbeats(shell, cluster, monkeypatch: pytest.MonkeyPatch):
    shell("train_models", *MS)
    begin()
    answers: list[bool] = []

    def out_of_sight(spec, handle, *, waiting):
        while waiting():
            answers.append(True)
            TrainingRun.objects.update(heartbeat_at=store.time_of_database() - timedelta(hours=1))
            time.sleep(0.001)
        succeed()
        return iter(["the last line"])

    monkeypatch.setattr(cluster, "logs", out_of_sight)

    done = shell("training_runs", "logs", "--follow", TrainingRun.objects.get().run_id)

    assert (done.code, done.out.splitlines()[0], set(answers)) == (0, "the last line", {True})


def test_cancel_and_retry(shell, cluster):
    shell("train_models", *MS)
    begin()
    run_id = TrainingRun.objects.get().run_id

    cancelled = shell("training_runs", "cancel", run_id)
    again = shell("training_runs", "cancel", run_id)
    retried = shell("training_runs", "retry", run_id)

    assert (cancelled.code, cancelled.out.partition("cancelled by ")[0]) == (0, f"run {run_id} cancelled (cancelled): ")
    assert again.code == 1
    assert again.err.startswith(f"CommandError: run {run_id} has already ended: cancelled (cancelled): cancelled by ")
    assert retried.code == 0, retried.err
    assert (TrainingRun.objects.get().attempt, cluster.submitted[-1]) == (2, f"run-{run_id}-a2")


def test_cancel_all_cancels_every_run_and_removes_no_job(shell, cluster, settings):
    settings.RUNNER = "pretend"
    shell("train_models", "--all-teams", *ON_CLUSTER)
    ended = TrainingRun.objects.order_by("queued_at")[0]
    shell("training_runs", "cancel", ended.run_id)
    cluster.jobs[f"run-{ended.run_id}-a1"] = QUEUED

    done = shell("training_runs", "cancel", "--all")

    assert done.code == 0, done.err
    assert {run.state for run in TrainingRun.objects.all()} == {"cancelled"}
    assert list(cluster.jobs) == [f"run-{ended.run_id}-a1"]


def test_cancel_all_ends_the_queued_runs_in_one_write(shell, cluster, settings, monkeypatch: pytest.MonkeyPatch):
    settings.RUNNER = "pretend"
    cluster.refuses = PreconditionFailed("the API server does not answer")
    shell("train_models", "--all-teams", *ON_CLUSTER)
    # A signal between two runs would leave the others queued.
    monkeypatch.setattr(store, "announce_end", lambda *args, **facts: pytest.fail("one run at a time"))

    done = shell("training_runs", "cancel", "--all")

    assert (done.code, done.err, len(done.out.splitlines())) == (0, "", 3)
    runs = set(TrainingRun.objects.values_list("state", "reason", "cancelled_by", "algorithms__run_log__success"))
    (operator,) = {cancelled_by for _, _, cancelled_by, _ in runs}
    assert runs == {("cancelled", "cancelled", operator, False)}
    assert operator
    assert f"cancelled (cancelled): cancelled by {operator} before it was started" in done.out


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        (("cancel", "--all", "--purge"), ""),
        (("clear",), "WARNING training_runs clear is deprecated; use: training_runs cancel --all --purge\n"),
    ],
)
def test_purge_also_removes_the_jobs_of_ended_runs(shell, cluster, settings, command, warning):
    settings.RUNNER = "pretend"
    shell("train_models", "--all-teams", *ON_CLUSTER)
    ended = TrainingRun.objects.order_by("queued_at")[0]
    shell("training_runs", "cancel", ended.run_id)
    cluster.jobs[f"run-{ended.run_id}-a1"] = QUEUED

    done = shell("training_runs", *command)

    assert (done.code, done.err) == (0, warning)
    assert {run.state for run in TrainingRun.objects.all()} == {"cancelled"}
    assert cluster.jobs == {}
    assert done.out.splitlines()[-1] == f"removed run-{ended.run_id}-a1"


@pytest.mark.parametrize("command", [("cancel",), ("cancel", "--all"), ("clear",)])
def test_a_run_of_a_newer_version_is_listed_shown_and_cancelled(shell, cluster, settings, command):
    settings.RUNNER = "pretend"
    shell("train_models", *MS)
    begin()
    run = TrainingRun.objects.get()
    TrainingRun.objects.update(spec={"schema_number": 2, "team": {"slug": "neurology"}, "subject": "ms"})

    listed, shown = shell("training_runs", "list"), shell("training_runs", "show", run.run_id)
    cancelled = shell("training_runs", *command, *([run.run_id] if command == ("cancel",) else []))

    assert "neurology/unknown" in listed.out
    assert shown.out.splitlines()[-1] == f"  kubectl describe job run-{run.run_id}-a1"
    assert (cancelled.code, TrainingRun.objects.get().state) == (0, "cancelled"), cancelled.err


def test_cancel_all_prints_the_runs_without_an_observed_end(shell, cluster, settings):
    settings.RUNNER = "pretend"
    shell("train_models", *MS)
    run_id = TrainingRun.objects.get().run_id
    begin()

    def stays(handle: object) -> None:
        raise TerminationTimeout("its node does not answer")

    cluster.on_cancel = stays

    done = shell("training_runs", "cancel", "--all", "--purge")

    assert done == Result(
        1,
        f"run {run_id} is being ended (cancelled): {TrainingRun.objects.get().detail}\n",
        f"CommandError: these runs were cancelled, but their end is not observed yet: {run_id}; repeat the command in a minute\n",
    )


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ((), "one of the arguments RUN_ID --all is required"),
        (("20250131t000000-abcdef", "--all"), "argument --all: not allowed with argument RUN_ID"),
        (("20250131t000000-abcdef", "--purge"), "--purge needs --all: it removes the remains of every ended run from the back end"),
    ],
)
def test_cancel_refuses_contradicting_arguments(shell, flags, error):
    done = shell("training_runs", "cancel", *flags)

    assert done.code == 2
    assert done.err.rstrip().endswith(error)
