"""`train_models` with a back end that keeps its runs, without and with --wait."""

import json
import threading
from concurrent.futures import Future
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError

from gregory.launch.errors import PreconditionFailed, SubmitError
from gregory.launch.runner import Observation, Status
from gregory.management import concurrent
from gregory.management.termination import Terminated
from gregory.models import PredictionRunLog
from gregory.reconcile.loop import Reconciler
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunOutcome
from tests.commands.cluster_runs import MS, ON_CLUSTER, QUEUED, begin, spec_now, succeed
from tests.commands.command_line import METRICS, Result
from tests.reconcile.pretend_cluster import PretendCluster, job

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("cluster")]


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
        def check(self: PretendCluster, specs: Any) -> None:
            raise PreconditionFailed("no kubeconfig")

        monkeypatch.setattr(PretendCluster, "check", check)

        assert shell("train_models", *MS) == Result(1, "", "CommandError: no kubeconfig\n")
        assert PredictionRunLog.objects.count() == 0

    def test_several_requests_run_at_a_time(self, shell, cluster):
        # Each request continues only if the others have begun, too.
        together = threading.Barrier(3, timeout=300)
        cluster.on_submit = lambda spec, handle: together.wait() and None

        assert shell("train_models", "--all-teams", *ON_CLUSTER).code == 0

        assert list(TrainingRun.objects.values_list("state", flat=True)) == ["submitted"] * 3

    def test_an_interrupted_submission_cancels_the_runs_without_a_request(self, shell, cluster, monkeypatch):
        no_answer = threading.Event()
        # The signal comes while the command waits for the answer about the second run.
        monkeypatch.setattr(concurrent, "MAX_REQUESTS", 1)
        cluster.on_submit = lambda spec, handle: setattr(cluster, "on_submit", lambda spec, handle: no_answer.wait(300))
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
        assert done.err == f"CommandError: 1 of 1 training failed; {hint}\n"

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
            report = RunOutcome(run_id=spec.run_id, attempt=1, algorithms=ends, interrupted="the database could not be reached")
            cluster.terminate(spec, reason=Reason.ERROR, exit_code=1, report=report.model_dump_json())

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
        cluster.refuses = PreconditionFailed("429: too many requests")
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
