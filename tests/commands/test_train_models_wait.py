"""train_models with a back end that keeps its runs, without and with --wait. And training_runs for such runs."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.management import ManagementUtility
from django.db import OperationalError, connections

from gregory.launch.errors import PreconditionFailed, SubmitError, TerminationTimeout
from gregory.launch.registry import RUNNERS
from gregory.launch.runner import Observation, Status
from gregory.management import concurrent, polling
from gregory.management.termination import Terminated
from gregory.ml.metrics import NAMES
from gregory.models import PredictionRunLog
from gregory.reconcile.loop import Reconciler
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunOutcome, RunSpec
from gregory.runs.states import RunState
from tests.reconcile import pretend_cluster
from tests.reconcile.pretend_cluster import PretendCluster, handle_of, job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

METRICS = {**{f"{part}_{name}": 0.5 for part in ("val", "test") for name in NAMES}, "prob_threshold": 0.8}
ON_CLUSTER = ("--runner", "pretend", "--algo", "lgbm_tfidf")
MS = ("--team", "neurology", "--subject", "ms", *ON_CLUSTER)
QUEUED = Observation(status=Status.PENDING, detail="0/1 nodes are available: 1 Insufficient nvidia.com/gpu")


class Result(NamedTuple):
    code: int
    out: str
    err: str


Shell = Callable[..., Result]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> PretendCluster:
    cluster = PretendCluster()
    monkeypatch.setattr(pretend_cluster, "CLUSTER", cluster, raising=False)
    monkeypatch.setitem(RUNNERS, "pretend", f"{pretend_cluster.__name__}:CLUSTER")
    return cluster


@pytest.fixture
def shell(
    cluster: PretendCluster,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    feed: None,
) -> Shell:
    settings.MODELS_DIR = tmp_path / "models"
    monkeypatch.setattr(polling, "POLL_SECONDS", 0.001)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("django.setup", lambda: None)
    monkeypatch.setattr(connections, "close_all", lambda: None)

    def shell(*argv: str) -> Result:
        code: Any = 0
        try:
            ManagementUtility(["manage.py", *argv]).execute()
        except SystemExit as end:
            code = end.code
        return Result(code, *capsys.readouterr())

    return shell


def spec_now() -> RunSpec:
    return RunSpec.model_validate(TrainingRun.objects.get().spec)


def begin() -> None:
    spec = spec_now()
    assert store.claim(spec, handle_of(spec), image_digest="", node="node-1")


def succeed() -> None:
    spec = spec_now()
    for algorithm in spec.algorithms:
        assert store.close_algorithm(spec, AlgorithmOutcome(**algorithm.model_dump(), success=True, metrics=METRICS))
    assert store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)


class TestWithoutWait:
    def test_every_subject_is_submitted_with_a_line(self, shell, cluster):
        done = shell("train_models", "--all-teams", *ON_CLUSTER)

        runs = list(TrainingRun.objects.order_by("queued_at"))
        assert (done.code, done.err) == (0, "")
        assert done.out.splitlines() == [
            *(
                f"{run.spec['team']['slug']}/{run.spec['subject']['slug']}: run {run.run_id} submitted as run-{run.run_id}-a1; "
                f"follow it with: python manage.py training_runs logs --follow {run.run_id}"
                for run in runs
            ),
            "follow one with: python manage.py training_runs logs --follow RUN_ID; "
            "cancel it with: python manage.py training_runs cancel RUN_ID; see all with: python manage.py training_runs list",
        ]
        assert {run.state for run in runs} == {"submitted"}
        assert len(cluster.submitted) == 3

    def test_a_refused_run_fails_with_its_reason_and_the_others_continue(self, shell, cluster):
        def refuse_the_next() -> None:
            cluster.refuses = SubmitError("exceeded quota: pods", reason=Reason.REFUSED)

        cluster.on_submit = lambda spec, handle: refuse_the_next()

        done = shell("train_models", "--team", "neurology", *ON_CLUSTER)

        assert done.code == 1
        assert done.err == "CommandError: 1 of 2 trainings failed\n"
        assert sorted(TrainingRun.objects.values_list("state", "reason")) == [("failed", "refused"), ("submitted", "")]

    def test_a_run_that_cannot_be_submitted_now_stays_queued(self, shell, cluster):
        cluster.refuses = PreconditionFailed("the API server does not answer")

        done = shell("train_models", *MS)

        run = TrainingRun.objects.get()
        assert done.out.splitlines()[0] == f"neurology/ms: run {run.run_id}: not submitted yet: the API server does not answer"
        assert (done.code, run.state) == (0, "pending")

    def test_a_failed_precondition_is_refused_before_any_row(self, shell, cluster, monkeypatch):
        def check(self: PretendCluster) -> None:
            raise PreconditionFailed("no kubeconfig")

        monkeypatch.setattr(PretendCluster, "check", check)

        assert shell("train_models", *MS) == Result(1, "", "CommandError: no kubeconfig\n")
        assert PredictionRunLog.objects.count() == 0

    def test_several_requests_run_at_a_time(self, shell, cluster):
        # Each request continues only if the others have begun, too.
        together = threading.Barrier(3, timeout=10)
        cluster.on_submit = lambda spec, handle: together.wait() and None

        assert shell("train_models", "--all-teams", *ON_CLUSTER).code == 0

        assert list(TrainingRun.objects.values_list("state", flat=True)) == ["submitted"] * 3

    def test_an_interrupted_submission_cancels_the_runs_without_a_request(self, shell, cluster, monkeypatch):
        no_answer = threading.Event()
        # The signal comes while the command waits for the answer about the second run.
        monkeypatch.setattr(concurrent, "MAX_REQUESTS", 1)
        cluster.on_submit = lambda spec, handle: setattr(cluster, "on_submit", lambda spec, handle: no_answer.wait(20))
        monkeypatch.setattr(concurrent, "Answer", lambda: Answer(raise_in=2))

        done = shell("train_models", "--all-teams", *ON_CLUSTER)

        assert done.code == 130
        assert done.err.startswith("CommandError: interrupted by signal 2 (SIGINT); the submitted runs continue; follow one with: ")
        no_answer.set()
        # The reconciler finds out whether the cluster has the second run.
        assert [run.state for run in TrainingRun.objects.order_by("queued_at")] == ["submitted", "pending", "cancelled"]

    def test_the_dry_run_shows_the_requests_to_the_cluster(self, shell, cluster):
        done = shell("train_models", *MS, "--dry-run", "--output", "json")

        shown = json.loads(done.out)
        assert [row["algorithm"] for row in shown["trainings"]] == ["lgbm_tfidf"]
        assert [(asked["subject"], asked["request"]["kind"]) for asked in shown["requests"]] == [("ms", "Job")]
        assert (cluster.submitted, PredictionRunLog.objects.count()) == ([], 0)


class Answer(Future):
    """The answer with this number, counted from 1, raises Terminated."""

    made = 0

    def __init__(self, *, raise_in: int) -> None:
        super().__init__()
        Answer.made += 1
        self._raises = Answer.made == raise_in

    def result(self, timeout: float | None = None) -> Any:
        if self._raises:
            raise Terminated(2)
        return super().result(timeout)


class TestWait:
    def test_changes_are_printed_with_their_reasons_and_the_table_at_the_end(self, shell, cluster):
        cluster.steps = [
            lambda: cluster.jobs.update({job(spec_now()): QUEUED}),
            lambda: None,
            lambda: cluster.jobs.update({job(spec_now()): Observation(status=Status.ALIVE, detail="its pod runs")}),
            begin,
            lambda: None,
            succeed,
        ]

        done = shell("train_models", *MS, "--wait", "--verbose", "3")

        assert done.code == 0, done.err
        version = PredictionRunLog.objects.get().model_version
        lines = done.out.splitlines()
        assert lines[1:6] == [
            "neurology/ms: queued: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu",
            "neurology/ms: submitted",
            "neurology/ms: running on node-1",
            "neurology/ms: succeeded",
            f"neurology/ms/lgbm_tfidf: version {version}: success",
        ]
        assert lines[7].startswith("team ")

    def test_the_exit_code_follows_the_rows(self, shell, cluster):
        cluster.steps = [
            begin,
            lambda: cluster.terminate(spec_now(), reason=Reason.KILLED, summary="exit code 137: SIGKILL", exit_code=137),
        ]

        done = shell("train_models", *MS, "--wait")

        run_id = TrainingRun.objects.get().run_id
        assert done.code == 1
        assert "neurology/ms: failed (killed): exit code 137: SIGKILL" in done.out.splitlines()
        hint = f"resume it with: python manage.py train_models --resume {run_id}"
        assert done.err == f"CommandError: 1 of 1 trainings failed; {hint}\n"

    def test_a_run_that_the_cluster_evicted_is_retried(self, shell, cluster):
        cluster.steps = [
            begin,
            lambda: cluster.terminate(spec_now(), reason=Reason.EVICTED, summary="evicted: node-1 is drained"),
            begin,
            succeed,
        ]

        done = shell("train_models", *MS, "--wait")

        assert (done.code, len(cluster.submitted)) == (0, 2)
        assert "neurology/ms: attempt 2: running on node-1" in done.out.splitlines()
        assert "neurology/ms: attempt 2: succeeded" in done.out.splitlines()

    def test_a_success_that_only_the_outcome_report_has_counts(self, shell, cluster):
        def terminate_with_a_report() -> None:
            spec = spec_now()
            ends = tuple(AlgorithmOutcome(**algorithm.model_dump(), success=True, metrics=METRICS) for algorithm in spec.algorithms)
            told = RunOutcome(run_id=spec.run_id, attempt=1, algorithms=ends, interrupted="the database could not be reached")
            cluster.terminate(spec, reason=Reason.ERROR, exit_code=1, report=told.model_dump_json())

        cluster.steps = [begin, terminate_with_a_report]

        assert shell("train_models", *MS, "--wait").code == 0
        assert PredictionRunLog.objects.get().success is True

    def test_ctrl_c_leaves_the_runs_running_and_prints_the_next_commands(self, shell, cluster):
        def interrupt() -> None:
            raise Terminated(2)

        cluster.steps = [begin, interrupt]

        done = shell("train_models", *MS, "--wait")

        run = TrainingRun.objects.get()
        assert (done.code, run.state, cluster.cancelled) == (130, "running", [])
        assert done.err == (
            "CommandError: interrupted by signal 2 (SIGINT); the submitted runs continue; "
            f"follow one with: python manage.py training_runs logs --follow {run.run_id}; "
            f"cancel it with: python manage.py training_runs cancel {run.run_id}; see all with: python manage.py training_runs list\n"
        )

    def test_the_command_waits_for_an_unreachable_database(self, shell, cluster, monkeypatch):
        def away() -> None:
            raise OperationalError("connection refused")

        # The connection holds the transaction of the test.
        monkeypatch.setattr(concurrent.connection, "close", lambda: None)
        cluster.steps = [begin, away, away, succeed]

        done = shell("train_models", *MS, "--wait", "--verbose", "2")

        assert done.code == 0
        assert done.out.count("WARNING the database cannot be used: connection refused") == 1

    def test_the_cause_of_a_delayed_submission_is_printed_once(self, shell, cluster, monkeypatch):
        cluster.refuses = PreconditionFailed("429: try again later")
        passes, reconcile = count(1), Reconciler.reconcile_once

        def counted(*args: Any, **kwargs: Any) -> Any:
            number = next(passes)
            if number == 3:
                cluster.refuses = None
                TrainingRun.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
            if number == 5:
                begin()
                succeed()
            return reconcile(*args, **kwargs)

        monkeypatch.setattr(Reconciler, "reconcile_once", counted)

        done = shell("train_models", *MS, "--wait")

        assert done.code == 0
        assert sum("not submitted yet" in line for line in done.out.splitlines()) == 1


class TestTrainingRuns:
    def test_show_prints_the_commands_of_the_cluster(self, shell, cluster):
        shell("train_models", *MS)
        cluster.jobs[job(spec_now())] = QUEUED
        shell("reconcile_runs", "--once")
        run_id = TrainingRun.objects.get().run_id

        done = shell("training_runs", "show", run_id)

        assert done.out.splitlines()[0] == f"run {run_id} of neurology/ms: submitted"
        assert f"  waiting for: {QUEUED.detail}" in done.out.splitlines()
        assert done.out.splitlines()[-2:] == ["commands for its back end:", f"  kubectl describe job run-{run_id}-a1"]

    def test_the_beginning_of_an_unknown_status_is_printed(self, shell):
        shell("train_models", *MS)
        TrainingRun.objects.update(unknown_since="2026-01-02T03:04:05Z")

        assert "unknown since 2026-01-02 03:04:05Z" in shell("training_runs", "list").out
        assert '"unknown_since": "2026-01-02T03:04:05Z"' in shell("training_runs", "list", "--output", "json").out
        assert "  unknown since: 2026-01-02T03:04:05Z" in shell("training_runs", "show", TrainingRun.objects.get().run_id).out.splitlines()

    def test_a_followed_log_has_all_attempts_and_the_end_state(self, shell, cluster):
        shell("train_models", *MS)
        run_id = TrainingRun.objects.get().run_id
        cluster.steps = [begin, lambda: cluster.terminate(spec_now(), reason=Reason.EVICTED), begin, succeed]

        done = shell("training_runs", "logs", "--follow", run_id)

        assert done == Result(0, f"line of attempt 1\nline of attempt 2\nrun {run_id} attempt 2: succeeded\n", "")

    def test_a_followed_log_of_a_failed_run_has_exit_code_1(self, shell, cluster):
        shell("train_models", *MS)
        run_id = TrainingRun.objects.get().run_id
        cluster.steps = [begin, lambda: cluster.terminate(spec_now(), reason=Reason.KILLED, summary="SIGKILL")]

        done = shell("training_runs", "logs", "-f", run_id)

        assert done == Result(1, "line of attempt 1\n", f"CommandError: run {run_id} failed (killed): SIGKILL\n")

    def test_cancel_and_retry(self, shell, cluster):
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

    def test_cancel_all_cancels_every_run_and_removes_no_job(self, shell, cluster, settings):
        settings.RUNNER = "pretend"
        shell("train_models", "--all-teams", *ON_CLUSTER)
        ended = TrainingRun.objects.order_by("queued_at")[0]
        shell("training_runs", "cancel", ended.run_id)
        cluster.jobs[f"run-{ended.run_id}-a1"] = QUEUED

        done = shell("training_runs", "cancel", "--all")

        assert done.code == 0, done.err
        assert {run.state for run in TrainingRun.objects.all()} == {"cancelled"}
        assert list(cluster.jobs) == [f"run-{ended.run_id}-a1"]

    @pytest.mark.parametrize(
        ("command", "warning"),
        [
            (("cancel", "--all", "--purge"), ""),
            (("clear",), "WARNING training_runs clear is deprecated; use: training_runs cancel --all --purge\n"),
        ],
    )
    def test_purge_also_removes_the_jobs_of_ended_runs(self, shell, cluster, settings, command, warning):
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

    def test_cancel_all_prints_the_runs_without_an_observed_end(self, shell, cluster, settings):
        settings.RUNNER = "pretend"
        shell("train_models", *MS)
        run_id = TrainingRun.objects.get().run_id
        begin()

        def stays(handle: object) -> None:
            raise TerminationTimeout("its node does not say so")

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
            (("20250131t000000-abcdef", "--purge"), "--purge needs --all: it removes what the back end kept of every ended run"),
        ],
    )
    def test_cancel_refuses_contradicting_arguments(self, shell, flags, error):
        done = shell("training_runs", "cancel", *flags)

        assert done.code == 2
        assert done.err.rstrip().endswith(error)
