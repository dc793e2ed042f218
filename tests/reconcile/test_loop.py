"""The reconciler over a cluster whose observations the test sets."""

import os
import re
import shutil
import socket
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from gregory.launch.errors import PreconditionFailed, SubmitError, TerminationTimeout, UnknownRunner
from gregory.launch.runner import Observation, Runner, Status
from gregory.models import PredictionRunLog, Subject
from gregory.reconcile import loop
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.models import AlgorithmRun, RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunOutcome, RunSpec
from gregory.runs.states import RunState
from tests.database_rows import HERE, outcome, planned
from tests.published import publish
from tests.reconcile.pretend_cluster import PretendCluster, handle_of, job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EVICTED = {"reason": Reason.EVICTED, "summary": "evicted: the node was low on memory", "exit_code": 143}
OUT_OF_MEMORY = {"reason": Reason.OUT_OF_MEMORY, "summary": "OOMKilled: the limit is 128 MiB", "exit_code": 137}
QUEUED = Observation(status=Status.PENDING, detail="0/1 nodes are available: 1 Insufficient nvidia.com/gpu")


@pytest.fixture
def reconcile(reconciler: Reconciler):
    def reconcile() -> list[ReconcileResult]:
        return list(reconciler.reconcile_once())

    return reconcile


@pytest.fixture
def at_work(subject: Subject, cluster: PretendCluster, tmp_path: Path) -> RunSpec:
    """A running run of two algorithms, with a working folder that the reconciler can read."""
    spec = queued(subject)
    store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
    store.claim(spec, handle_of(spec), image_digest="")
    spec.folder(tmp_path).stages().mkdir(parents=True)
    return spec


@pytest.fixture
def of_another_boot(subject: Subject, cluster: PretendCluster) -> RunSpec:
    """A running run of a process whose handle has the name of this host and another boot."""
    cluster.durable, cluster.stall_seconds = False, 0
    spec, handle = queued(subject), cluster.owner_handle()
    store.claim(spec, handle.model_copy(update={"uid": "a5b07c9e-0000-4000-8000-000000000000:1"}), image_digest="")
    return spec


@pytest.fixture
def unseen(at_work: RunSpec, tmp_path: Path) -> RunSpec:
    """A running run whose models the reconciler cannot read."""
    shutil.rmtree(at_work.folder(tmp_path).path)
    return at_work


def queued(subject: Subject) -> RunSpec:
    return store.open_run(planned(subject), runner="pretend", handle=HERE, triggered_by="a test")


def run() -> TrainingRun:
    return TrainingRun.objects.get()


def spec_now() -> RunSpec:
    return RunSpec.model_validate(run().spec)


def results() -> list[bool | None]:
    return list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True))


def ago(**clocks: float) -> None:
    """Move times of the run into the past, by seconds."""
    TrainingRun.objects.update(**{name: Now() - timedelta(seconds=seconds) for name, seconds in clocks.items()})


def begin_and_claim(spec: RunSpec) -> None:
    """The claim of the run's own process."""
    assert store.claim(spec, handle_of(spec), image_digest="")


class TestObservations:
    def test_the_same_cause_of_waiting_is_written_once(self, subject, cluster, reconcile):
        spec = queued(subject)
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        cluster.jobs[job(spec)] = QUEUED

        assert [(result.action, result.detail) for result in reconcile()] == [(ResultKind.NOTED, f"waiting: {QUEUED.detail}")]
        assert [result.action for result in reconcile()] == [ResultKind.LEFT]
        assert (run().waiting_for, run().state) == (QUEUED.detail, "submitted")

        cluster.jobs[job(spec)] = Observation(status=Status.PENDING, detail="Pulling image")
        assert [result.action for result in reconcile()] == [ResultKind.NOTED]
        begin_and_claim(spec)
        assert (run().waiting_for, run().state) == ("", "running")

    def test_a_suspended_run_waits_and_can_be_claimed_again(self, at_work, cluster, reconcile):
        cluster.jobs[job(at_work)] = Observation(status=Status.PENDING, detail="suspended by Kueue: preempted")

        reconcile()

        assert (run().state, run().waiting_for) == ("submitted", "suspended by Kueue: preempted")
        assert RunEvent.objects.get().message == "attempt 1 was suspended by its back end and waits again: suspended by Kueue: preempted"
        begin_and_claim(at_work)

    def test_a_run_that_its_node_has_not_reported_yet_is_not_suspended(self, at_work, cluster, reconcile):
        cluster.jobs[job(at_work)] = Observation(status=Status.PENDING, detail="the node starts the container of the run", node="node-1")

        reconcile()

        assert (run().state, RunEvent.objects.count()) == ("running", 0)

    def test_an_observation_does_not_overwrite_a_later_start(self, at_work, cluster, reconcile):
        (timed,) = store.unfinished_runs()
        assert store.claim(at_work, handle_of(at_work), image_digest="", again=True)
        TrainingRun.objects.update(started_at=F("started_at") + timedelta(seconds=1))

        Reconciler(runner_for=cluster, models_dir=Path("/nowhere"), stale_after=900).apply(timed, QUEUED, cluster)

        assert run().state == "running"

    def test_an_observation_is_written_if_the_start_has_no_milliseconds(self, at_work, cluster, reconcile):
        """SQLite stores such a time as another text than Python sends."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE gregory_runs_trainingrun SET started_at = '2026-01-02 03:04:05.000'")
        cluster.jobs[job(at_work)] = QUEUED

        assert [result.action for result in reconcile()] == [ResultKind.NOTED]
        assert run().waiting_for == QUEUED.detail

    def test_an_unknown_status_writes_its_start_only(self, at_work, cluster, reconcile):
        cluster.away = "the API server does not answer"
        ago(heartbeat_at=99_999, progress_at=99_999)
        before = TrainingRun.objects.values().get()

        assert [result.action for result in reconcile()] == [ResultKind.NOTED]
        since = run().unknown_since
        (result,) = reconcile()
        assert (result.action, result.is_unseen) == (ResultKind.LEFT, True)
        detail = "the API server does not answer; its status is unknown; unknown since"
        assert result.detail == f"{detail} {since:%Y-%m-%d %H:%M:%S} UTC"

        assert TrainingRun.objects.values().get() == {**before, "unknown_since": since}
        assert results() == [None, None]

        cluster.away = ""
        ago(progress_at=0)
        reconcile()
        assert run().unknown_since is None

    def test_the_node_is_stored(self, at_work, reconcile):
        reconcile()

        assert run().node == "node-1"

    def test_a_runner_that_fails_does_not_stop_the_pass(self, at_work, cluster, tmp_path):
        def runner_for(name: str) -> PretendCluster:
            raise PreconditionFailed("no kubeconfig")

        reconciled = list(Reconciler(runner_for=runner_for, models_dir=tmp_path, stale_after=900).reconcile_once())

        assert [(result.action, result.detail) for result in reconciled] == [(ResultKind.UNSEEN, "no kubeconfig")]
        assert results() == [None, None]

    def test_a_pass_makes_one_call_for_all_runs(self, subject, cluster, reconcile):
        for number in range(3):
            other = Subject.objects.create(subject_name=f"{number}", subject_slug=f"s{number}", team=subject.team)
            spec = queued(other)
            store.mark_submitted(spec, cluster.submit(cluster.render(spec)))

        reconcile()

        assert cluster.looks == [3]


class TestMissing:
    def test_a_missing_run_is_closed_only_if_it_is_still_missing_later(self, at_work, cluster, reconcile):
        cluster.jobs.clear()

        assert [result.action for result in reconcile()] == [ResultKind.NOTED]
        assert [result.action for result in reconcile()] == [ResultKind.LEFT]
        assert results() == [None, None]

        ago(missing_since=61)
        reconcile()
        assert results() == [False, False]
        assert (run().state, run().reason, run().detail) == ("failed", "deleted", "the Job is not there")

    def test_a_complete_model_of_a_missing_run_is_a_success(self, at_work, cluster, reconcile, tmp_path):
        """The run may not have been able to write its row before the deletion."""
        publish(tmp_path, at_work, position=0)
        cluster.jobs.clear()
        reconcile()
        ago(missing_since=61)

        reconcile()

        assert results() == [True, False]
        assert (run().state, run().reason, run().detail) == ("failed", "deleted", "the Job is not there")

    def test_a_reconciler_without_the_models_waits_longer(self, at_work, cluster, tmp_path):
        def reconcile_elsewhere() -> list[ResultKind]:
            return [
                result.action
                for result in Reconciler(runner_for=cluster, models_dir=tmp_path / "elsewhere", stale_after=900).reconcile_once()
            ]

        cluster.jobs.clear()
        reconcile_elsewhere()
        ago(missing_since=61)
        assert reconcile_elsewhere() == [ResultKind.LEFT]

        ago(missing_since=121)
        assert reconcile_elsewhere() == [ResultKind.CLOSED]
        assert results() == [False, False]

    def test_a_missing_run_that_had_not_begun_is_closed_at_once(self, at_work, cluster, tmp_path):
        TrainingRun.objects.update(state=RunState.SUBMITTED)
        cluster.jobs.clear()

        for _ in range(2):
            reconciled = list(Reconciler(runner_for=cluster, models_dir=tmp_path / "elsewhere", stale_after=900).reconcile_once())
            ago(missing_since=61)

        assert [result.action for result in reconciled] == [ResultKind.CLOSED]

    def test_a_run_that_is_observed_again_is_not_missing(self, at_work, cluster, reconcile):
        there = cluster.jobs.copy()
        cluster.jobs.clear()
        reconcile()
        cluster.jobs.update(there)

        reconcile()

        assert run().missing_since is None


class TestRetry:
    def test_an_evicted_run_continues_in_the_same_rows(self, at_work, cluster, reconcile):
        store.close_algorithm(at_work, outcome(at_work, 0))
        cluster.terminate(at_work, **EVICTED)

        (result,) = reconcile()

        assert (result.action, result.reason) == (ResultKind.RETRIED, Reason.EVICTED)
        following = spec_now()
        assert (following.attempt, following.algorithms) == (2, at_work.algorithms[1:])
        assert following.attempt_token != at_work.attempt_token
        assert cluster.submitted == [job(at_work), job(following)]
        assert (run().state, run().retries, run().external_name) == ("submitted", 1, job(following))
        assert results() == [True, None]
        (event,) = RunEvent.objects.all()
        assert (event.kind, event.message.partition(" (")[0]) == (
            "retried",
            "attempt 1 ended: running: evicted: evicted: the node was low on memory",
        )
        assert event.message.endswith("\nlast line")

    def test_the_earlier_attempt_writes_nothing(self, at_work, cluster, reconcile):
        cluster.terminate(at_work, **EVICTED)
        reconcile()

        assert not store.close_algorithm(at_work, outcome(at_work, 0))
        assert results() == [None, None]

    def test_a_run_is_closed_with_the_reason_after_the_last_attempt(self, at_work, cluster, reconcile):
        for _ in range(3):
            cluster.terminate(spec_now(), **EVICTED)
            reconcile()

        assert len(cluster.submitted) == 3
        assert (run().state, run().reason, run().attempt) == ("failed", "evicted", 3)
        assert run().detail == "evicted: the node was low on memory; the run had 3 attempts, which is the limit"
        assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, run().detail)}

    @pytest.mark.parametrize("reason", [Reason.KILLED, Reason.DELETED, Reason.DEADLINE, Reason.IMAGE_PULL, Reason.NO_REPORT, Reason.ERROR])
    def test_other_reasons_are_not_retried(self, at_work, cluster, reconcile, reason):
        cluster.terminate(at_work, reason=reason)

        reconcile()

        assert (run().state, run().reason, run().attempt) == ("failed", reason, 1)
        assert results() == [False, False]

    def test_an_interrupted_run_is_retried(self, at_work, cluster, reconcile):
        report = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(), interrupted="interrupted by signal 15 (SIGTERM)")
        cluster.terminate(at_work, reason=Reason.ERROR, summary="exit code 1", exit_code=1, report=report.model_dump_json())

        (result,) = reconcile()

        assert (result.action, result.reason) == (ResultKind.RETRIED, Reason.INTERRUPTED)
        assert result.detail.startswith("interrupted by signal 15 (SIGTERM); exit code 1; attempt 2 with lstm, lgbm_tfidf: submitted as ")

    def test_the_report_takes_precedence_over_out_of_memory(self, at_work, cluster, reconcile):
        store.begin_algorithm(at_work, at_work.algorithms[1].run_log_id)
        ends = (outcome(at_work, 0, success=False, error="out of memory"),)
        report = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=ends, interrupted="the database could not be reached")
        cluster.terminate(at_work, reason=Reason.OUT_OF_MEMORY, exit_code=1, report=report.model_dump_json())

        (result,) = reconcile()

        assert (result.action, result.reason) == (ResultKind.RETRIED, Reason.INTERRUPTED)
        assert results() == [False, None]

    def test_a_deleted_run_is_not_retried_after_its_report(self, at_work, cluster, reconcile):
        report = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(), interrupted="interrupted by signal 15 (SIGTERM)")
        cluster.terminate(at_work, reason=Reason.DELETED, report=report.model_dump_json())

        reconcile()

        assert run().reason == "deleted"

    def test_another_reconciler_submits_an_attempt_that_was_not_submitted(self, at_work, cluster, reconcile):
        cluster.terminate(at_work, **EVICTED)
        cluster.refuses = PreconditionFailed("429: too many requests")
        (result,) = reconcile()
        assert result.detail.endswith("not submitted yet: 429: too many requests")
        assert (run().state, run().attempt) == ("pending", 2)
        cluster.refuses = None
        assert [result.action for result in reconcile()] == [ResultKind.LEFT]

        ago(heartbeat_at=61)
        assert [result.action for result in reconcile()] == [ResultKind.SUBMITTED]
        assert cluster.submitted == [job(at_work), job(spec_now())]


class TestOutOfMemory:
    def test_the_algorithm_in_training_is_closed_and_the_others_continue(self, at_work, cluster, reconcile):
        store.begin_algorithm(at_work, at_work.algorithms[0].run_log_id)
        cluster.terminate(at_work, **OUT_OF_MEMORY)

        reconcile()

        lstm, lgbm = PredictionRunLog.objects.order_by("pk")
        assert (lstm.success, lstm.algorithm_run.reason, lstm.error_message) == (False, "out_of_memory", "OOMKilled: the limit is 128 MiB")
        assert lgbm.success is None
        assert spec_now().algorithms == at_work.algorithms[1:]
        assert (run().attempt, run().retries) == (2, 0)

        following = spec_now()
        begin_and_claim(following)
        store.close_algorithm(following, outcome(following, 0))
        assert store.unsuccessful(following) == ["lstm"]
        assert store.failure_reason(following) is Reason.OUT_OF_MEMORY

    def test_there_are_at_most_as_many_attempts_as_algorithms(self, at_work, cluster, reconcile):
        for _ in at_work.algorithms:
            spec = spec_now()
            store.begin_algorithm(spec, spec.algorithms[0].run_log_id)
            cluster.terminate(spec, **OUT_OF_MEMORY)
            reconcile()

        assert (run().state, run().reason, run().attempt) == ("failed", "out_of_memory", 2)
        assert results() == [False, False]

    def test_all_rows_are_closed_if_no_algorithm_was_in_training(self, at_work, cluster, reconcile):
        AlgorithmRun.objects.update(stage="summarise")
        cluster.terminate(at_work, **OUT_OF_MEMORY)

        reconcile()

        assert (run().state, run().reason, results()) == ("failed", "out_of_memory", [False, False])

    def test_training_of_an_earlier_attempt_does_not_count(self, at_work, cluster, reconcile):
        store.begin_algorithm(at_work, at_work.algorithms[0].run_log_id)
        cluster.terminate(at_work, **EVICTED)
        reconcile()

        assert store.in_training(spec_now()) == []


class TestTermination:
    def test_a_stalled_run_is_terminated_and_finalized(self, at_work, cluster, reconcile):
        ago(progress_at=1801)

        reconcile()

        assert cluster.cancelled == [job(at_work)]
        assert (run().state, run().reason) == ("failed", "stalled")
        assert run().detail.startswith("stalled: no progress for 1801 s, the limit is 1800 s; last heartbeat 0 s ago")
        assert results() == [False, False]

    def test_a_run_that_was_cut_off_from_the_database_speaks_for_itself(self, at_work, cluster, reconcile):
        """It was cut off for longer than the limit, and made progress meanwhile."""
        ago(heartbeat_at=2000, progress_at=2010)
        reconcile()
        store.heartbeat([at_work], idle=3.0)
        reconcile()

        assert (run().state, run().reason, cluster.cancelled) == ("running", "", [])

    def test_a_run_that_was_cut_off_and_hangs_is_terminated(self, at_work, cluster, reconcile):
        ago(heartbeat_at=2000, progress_at=2010)
        store.heartbeat([at_work], idle=1900.0)

        reconcile()

        assert (run().state, run().reason) == ("failed", "stalled")
        assert run().detail.startswith("stalled: no progress for 1900 s, the limit is 1800 s; last heartbeat 0 s ago")

    def test_a_run_that_stays_silent_is_terminated(self, at_work, cluster, reconcile):
        ago(heartbeat_at=3601, progress_at=3601)

        reconcile()

        assert (run().state, run().reason) == ("failed", "stalled")
        assert run().detail.startswith("stalled: no heartbeat for 3601 s, the limit is 3600 s; ")

    def test_a_run_is_not_finalized_before_its_end_is_observed(self, at_work, cluster, reconcile):
        ago(progress_at=1801)
        cluster.on_cancel = refuse_to_end

        (result,) = reconcile()

        assert (result.action, result.reason) == (ResultKind.NOTED, Reason.STALLED)
        assert (run().state, run().reason, results()) == ("running", "stalled", [None, None])
        cluster.on_cancel = lambda handle: None
        reconcile()
        assert (run().state, run().reason) == ("failed", "stalled")

    def test_runs_are_terminated_in_parallel(self, at_work, subject, cluster, reconcile):
        another = Subject.objects.create(subject_name="Another", subject_slug="another", team=subject.team)
        spec = store.open_run(planned(another, version="2"), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        store.claim(spec, handle_of(spec), image_digest="")
        ago(progress_at=1801)
        # Each call returns only after the other has begun.
        both = threading.Barrier(2, timeout=300)
        cluster.on_cancel = lambda handle: both.wait() and None

        reconciled = reconcile()

        assert [result.action for result in reconciled] == [ResultKind.CLOSED, ResultKind.CLOSED]
        assert list(TrainingRun.objects.values_list("state", "reason")) == [("failed", "stalled")] * 2

    def test_a_failed_termination_does_not_stop_the_others(self, at_work, subject, cluster, reconcile):
        another = Subject.objects.create(subject_name="Another", subject_slug="another", team=subject.team)
        spec = store.open_run(planned(another, version="2"), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        store.claim(spec, handle_of(spec), image_digest="")
        ago(progress_at=1801)
        cluster.on_cancel = lambda handle: refuse_to_end(handle) if handle.name == job(at_work) else None

        reconcile()

        assert TrainingRun.objects.get(pk=at_work.run_id).state == "running"
        assert TrainingRun.objects.get(pk=spec.run_id).state == "failed"

    @pytest.mark.parametrize("call", ["cancel", "observe"])
    def test_an_unexpected_error_of_a_termination_is_a_result(self, at_work, cluster, reconcile, monkeypatch, call):
        ago(progress_at=1801)
        observe, calls = cluster.observe, []

        def unexpected(handles: Any, **options: Any) -> Any:
            calls.append(handles)
            if call == "observe" and len(calls) < 3:
                return observe(handles)
            raise KeyError("metadata")

        monkeypatch.setattr(cluster, call, unexpected)

        (result,) = reconcile()

        assert (result.action, result.detail, bool(result.traceback)) == (ResultKind.ERROR, "KeyError: 'metadata'", True)
        assert (run().state, run().reason) == ("running", "stalled")

    def test_a_run_that_waited_too_long_is_terminated_before_its_rows_are_closed(self, subject, cluster, reconcile):
        spec = queued(subject)
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        cluster.jobs[job(spec)] = Observation(
            status=Status.PENDING,
            detail="ErrImagePull: not found; for 601 s",
            diagnosis=Diagnosis(summary="ErrImagePull: not found; for 601 s", reason=Reason.IMAGE_PULL),
        )

        reconcile()

        assert (cluster.cancelled, cluster.jobs) == ([job(spec)], {})
        assert (run().state, run().reason, run().detail) == ("failed", "image_pull", "ErrImagePull: not found; for 601 s")

    @pytest.mark.parametrize("observed", [Reason.NODE_LOST, Reason.DELETED])
    def test_a_pod_that_its_node_lost_before_the_run_is_removed_and_retried(self, subject, cluster, reconcile, observed):
        """observed: also by a reconciler that was killed after the removal, so the next one finds no Job."""
        spec = queued(subject)
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        lost = Diagnosis(summary="the node lost the containers of the pod; for 1801 s", reason=Reason.NODE_LOST)
        cluster.jobs[job(spec)] = Observation(status=Status.PENDING, detail=lost.summary, diagnosis=lost)
        if observed is Reason.DELETED:
            store.announce_end(spec, lost)
            cluster.terminate(spec, reason=observed)

        (result,) = reconcile()

        assert result.action is ResultKind.RETRIED
        assert cluster.cancelled == ([job(spec)] if observed is Reason.NODE_LOST else [])
        assert (run().attempt, run().retries, run().state, run().reason) == (2, 1, "submitted", "")
        assert RunEvent.objects.get().message.startswith("attempt 1 ended: submitted: node_lost: the node lost the containers of the pod")

    def test_an_announced_reason_is_the_reason_of_the_end(self, at_work, cluster, reconcile):
        store.announce_end(at_work, Diagnosis(summary="stalled: no progress for 1801 s", reason=Reason.STALLED))
        cluster.terminate(at_work, reason=Reason.DELETED)

        reconcile()

        assert (run().state, run().reason, run().detail) == ("failed", "stalled", "stalled: no progress for 1801 s")

    def test_a_run_with_an_announced_end_is_not_retried(self, at_work, cluster, reconcile):
        """Another version of this program may announce an end for which this one retries."""
        store.announce_end(at_work, Diagnosis(summary="its node is being removed", reason=Reason.NODE_LOST))
        cluster.terminate(at_work, reason=Reason.KILLED)

        assert [result.action for result in reconcile()] == [ResultKind.CLOSED]

        assert (run().state, run().reason, run().detail) == ("failed", "node_lost", "its node is being removed")

    def test_cancel_closes_open_rows(self, at_work, cluster, reconciler):
        store.close_algorithm(at_work, outcome(at_work, 0))

        reconciler.cancel(run(), by="me@here")

        assert cluster.cancelled == [job(at_work)]
        assert (run().state, run().reason, run().cancelled_by) == ("cancelled", "cancelled", "me@here")
        assert list(PredictionRunLog.objects.order_by("pk").values_list("success", "error_message")) == [
            (True, None),
            (False, "cancelled by me@here"),
        ]

    def test_cancel_waits_for_an_observation_of_the_end(self, at_work, cluster, reconcile, reconciler):
        cluster.shows_ends = False

        result = reconciler.cancel(run(), by="me@here")

        assert result.detail == "cancelled by me@here; it is gone; the reconciler waits 60 s for an observation of its end"
        reconcile()
        assert (run().state, results()) == ("running", [None, None])
        ago(missing_since=61)
        reconcile()
        assert (run().state, results()) == ("cancelled", [False, False])

    def test_a_run_that_finishes_during_cancel_stays_succeeded(self, at_work, cluster, reconciler):
        def finish(handle: object) -> None:
            for position in (0, 1):
                store.close_algorithm(at_work, outcome(at_work, position))
            store.finish_run(at_work, RunState.SUCCEEDED, SUCCEEDED)

        cluster.on_cancel = finish

        reconciler.cancel(run(), by="me@here")

        assert (run().state, run().reason, results()) == ("succeeded", "", [True, True])

    def test_cancel_ends_a_waiting_run(self, at_work, cluster, reconciler):
        TrainingRun.objects.update(state=RunState.SUBMITTED)
        cluster.jobs[job(at_work)] = QUEUED

        reconciler.cancel(run(), by="me@here")

        assert (cluster.cancelled, run().state) == ([job(at_work)], "cancelled")

    def test_cancel_closes_a_queued_run_and_not_its_command(self, subject, cluster, reconciler):
        queued(subject)

        reconciler.cancel(run(), by="me@here")

        assert (cluster.cancelled, run().state, run().detail) == ([], "cancelled", "cancelled by me@here before it was started")

    def test_a_cancelled_run_is_neither_claimed_nor_retried(self, at_work, cluster, reconcile):
        TrainingRun.objects.update(state=RunState.SUBMITTED)
        store.announce_end(at_work, Diagnosis(summary="cancelled by me", reason=Reason.CANCELLED), cancelled_by="me")
        assert not store.claim(at_work, handle_of(at_work), image_digest="")
        cluster.terminate(at_work, **EVICTED)

        reconcile()

        assert (run().state, run().reason, run().attempt) == ("cancelled", "cancelled", 1)

    def test_cancel_without_a_runner_writes_nothing(self, at_work, tmp_path):
        def unavailable(name: str) -> Runner:
            raise UnknownRunner(name)

        before = TrainingRun.objects.values().get()

        with pytest.raises(UnknownRunner):
            Reconciler(runner_for=unavailable, models_dir=tmp_path, stale_after=900).cancel(run(), by="me@here")

        assert TrainingRun.objects.values().get() == before

    def test_cancel_refuses_an_ended_run(self, at_work, cluster, reconciler):
        before = run()
        store.end_run(at_work, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))

        with pytest.raises(store.RunRefused, match="has ended, or has another attempt; list it again"):
            reconciler.cancel(before, by="me@here")


class TestAProcessThatThisMachineCannotObserve:
    @pytest.mark.parametrize("age", [1, 119])
    def test_a_heartbeat_proves_that_it_lives(self, of_another_boot, reconcile, age: int):
        ago(heartbeat_at=age)

        detail = f"process {os.getpid()} belongs to another boot of {socket.gethostname()}, or to another machine of that name"
        assert [(result.action, result.detail) for result in reconcile()] == [(ResultKind.NOTED, f"{detail}; its status is unknown")]
        assert run().state == "running"

    def test_without_a_heartbeat_it_has_ended(self, of_another_boot, reconcile):
        ago(heartbeat_at=130)

        assert [result.action for result in reconcile()] == [ResultKind.CLOSED]
        assert (run().state, run().reason) == ("failed", "lost")
        detail = f"lost: process {os.getpid()} belongs to another boot of {socket.gethostname()}, or to another machine of that name"
        assert re.sub(r"\d+ s$", "N s", run().detail) == f"{detail}; it wrote no heartbeat for N s"

    def test_a_heartbeat_during_the_pass_keeps_it(self, of_another_boot, cluster, reconcile):
        ago(heartbeat_at=130)
        cluster.steps = [lambda: None, lambda: ago(heartbeat_at=0)]

        assert [result.action for result in reconcile()] == [ResultKind.LEFT]
        assert run().state == "running"


class TestSubmission:
    def test_a_queued_run_of_an_ended_command_is_submitted(self, subject, cluster, reconcile):
        here = cluster.owner_handle()
        ended = here.model_copy(update={"uid": f"{here.uid}0"})
        spec = store.open_run(planned(subject), runner="pretend", handle=ended, triggered_by="a test")

        assert [result.action for result in reconcile()] == [ResultKind.SUBMITTED]
        assert (cluster.submitted, run().state) == ([job(spec)], "submitted")

    def test_a_refused_submission_is_closed_with_the_reason(self, subject, cluster, reconcile):
        queued(subject)
        ago(heartbeat_at=61)
        cluster.refuses = SubmitError("quota exceeded: pods", reason=Reason.REFUSED)

        assert [result.action for result in reconcile()] == [ResultKind.CLOSED]
        assert (run().state, run().reason, run().detail) == ("failed", "refused", "quota exceeded: pods")

    def test_a_run_that_ended_during_its_submission_is_terminated(self, subject, cluster, reconcile, monkeypatch):
        queued(subject)
        ago(heartbeat_at=61)
        record = store.mark_submitted

        def after_the_end(spec: RunSpec, handle: RunHandle) -> bool:
            store.end_run(spec, RunState.CANCELLED, Diagnosis(summary="by me", reason=Reason.CANCELLED))
            return record(spec, handle)

        monkeypatch.setattr(store, "mark_submitted", after_the_end)

        (result,) = reconcile()

        assert result.detail == f"another process ended it during the submission; {cluster.submitted[0]} was terminated"
        assert (cluster.jobs, run().state) == ({}, "cancelled")

    def test_a_run_that_succeeded_during_its_submission_keeps_its_log(self, subject, cluster, reconcile, monkeypatch):
        spec = queued(subject)
        ago(heartbeat_at=61)
        record = store.mark_submitted

        def after_the_end(spec: RunSpec, handle: RunHandle) -> bool:
            begin_and_claim(spec)
            store.end_run(spec, RunState.SUCCEEDED, Diagnosis(summary=""))
            return record(spec, handle)

        monkeypatch.setattr(store, "mark_submitted", after_the_end)

        (result,) = reconcile()

        assert (result.action, result.detail) == (ResultKind.SUBMITTED, f"submitted as {job(spec)}")
        assert (list(cluster.jobs), run().state) == ([job(spec)], "succeeded")

    def test_garbage_collection_keeps_a_run_that_was_just_opened(self, subject, cluster, monkeypatch, reconciler):
        monkeypatch.setitem(loop.RUNNERS, "pretend", "a test's")
        spec = queued(subject)
        cluster.submit(cluster.render(spec))
        cluster.jobs["run-nosuchrun-a1"] = Observation(status=Status.ALIVE, detail="its pod runs")

        assert list(reconciler.collect_garbage()) == ["run-nosuchrun-a1"]
        assert list(cluster.jobs) == [job(spec)]


class TestReports:
    def test_the_report_of_a_run_without_a_database_becomes_its_rows(self, unseen, cluster, reconcile):
        ends = (outcome(unseen, 0), outcome(unseen, 1, success=False, error="why"))
        report = RunOutcome(run_id=unseen.run_id, attempt=1, algorithms=ends, interrupted="the database could not be reached")
        cluster.terminate(unseen, reason=Reason.ERROR, exit_code=1, report=report.model_dump_json())

        (result,) = reconcile()

        succeeded, failed = PredictionRunLog.objects.order_by("pk")
        assert (succeeded.success, succeeded.algorithm_run.metrics) == (True, {"test_f1": 0.5})
        assert (failed.success, failed.error_message) == (False, "why")
        assert (run().state, run().reason, run().attempt, run().exit_code) == ("failed", "error", 1, 1)
        assert result.action is ResultKind.CLOSED

    def test_a_run_that_succeeded_by_its_report_has_no_reason(self, unseen, cluster, reconcile):
        report = RunOutcome(run_id=unseen.run_id, attempt=1, algorithms=(outcome(unseen, 0), outcome(unseen, 1)), interrupted="no database")
        cluster.terminate(unseen, summary="its pod exited with code 143", report=report.model_dump_json())

        (result,) = reconcile()

        assert (result.action, result.reason) == (ResultKind.SUCCEEDED, None)
        assert str(result).endswith(": succeeded: every model was complete; lost: its pod exited with code 143")

    def test_a_reported_success_is_not_trained_again(self, unseen, cluster, reconcile):
        report = RunOutcome(run_id=unseen.run_id, attempt=1, algorithms=(outcome(unseen, 0),), interrupted="no database")
        cluster.terminate(unseen, reason=Reason.ERROR, report=report.model_dump_json())

        reconcile()

        assert results() == [True, None]
        assert spec_now().algorithms == unseen.algorithms[1:]

    @pytest.mark.parametrize("report", ["", "Traceback (most recent call last):", '{"run_id": "another", "attempt": 1, "algorithms": []}'])
    def test_a_report_of_another_attempt_is_ignored(self, at_work, cluster, reconcile, report):
        cluster.terminate(at_work, reason=Reason.NO_REPORT, report=report)

        reconcile()

        assert (run().reason, results()) == ("no_report", [False, False])

    def test_a_late_failure_does_not_change_a_success(self, at_work, cluster, reconcile):
        report = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(outcome(at_work, 0, success=False, error="late"),))
        store.close_algorithm(at_work, outcome(at_work, 0))
        cluster.terminate(at_work, reason=Reason.ERROR, report=report.model_dump_json())

        reconcile()

        assert results() == [True, False]


def refuse_to_end(handle: object) -> None:
    raise TerminationTimeout("the pod is terminating on a node that does not answer")
