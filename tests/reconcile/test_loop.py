"""Looks at a cluster that shows what it is told to: what is noted, tried again, ended, and handed over."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from gregory.launch.errors import PreconditionFailed, SubmitError, TerminationTimeout
from gregory.launch.runner import Observation, Status
from gregory.ml.artifacts import stages_folder
from gregory.models import PredictionRunLog, Subject
from gregory.reconcile import loop
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.models import AlgorithmRun, RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunOutcome, RunSpec
from gregory.runs.states import RunState
from tests.database_rows import HERE, outcome, planned
from tests.published import publish
from tests.reconcile.pretend_cluster import PretendCluster, handle_of, job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EVICTED = {"reason": Reason.EVICTED, "summary": "evicted: the node was low on memory", "exit_code": 143}
OUT_OF_MEMORY = {"reason": Reason.OUT_OF_MEMORY, "summary": "OOMKilled: the limit is 128 MiB", "exit_code": 137}
QUEUED = Observation(status=Status.PENDING, detail="0/1 nodes are available: 1 Insufficient nvidia.com/gpu")


@pytest.fixture
def cluster() -> PretendCluster:
    return PretendCluster()


@pytest.fixture
def reconciler(cluster: PretendCluster, tmp_path: Path) -> Reconciler:
    return Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900)


@pytest.fixture
def look(reconciler: Reconciler):
    def look() -> list[ReconcileResult]:
        return list(reconciler.reconcile_once())

    return look


@pytest.fixture
def at_work(subject: Subject, cluster: PretendCluster, tmp_path: Path) -> RunSpec:
    """A run of two algorithms that has begun, in a models folder that is seen here."""
    spec = queued(subject)
    store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
    store.claim(spec, handle_of(spec), image_digest="")
    stages_folder(tmp_path, spec.run_id).mkdir(parents=True)
    return spec


def queued(subject: Subject) -> RunSpec:
    return store.open_run(planned(subject), runner="pretend", handle=HERE, triggered_by="a test")


def run() -> TrainingRun:
    return TrainingRun.objects.get()


def spec_now() -> RunSpec:
    return RunSpec.model_validate(run().spec)


def results() -> list[bool | None]:
    return list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True))


def ago(**clocks: float) -> None:
    """Turn clocks of the run back, in seconds."""
    TrainingRun.objects.update(**{name: Now() - timedelta(seconds=seconds) for name, seconds in clocks.items()})


def begin_and_claim(spec: RunSpec) -> None:
    """What the run inside does at its beginning."""
    assert store.claim(spec, handle_of(spec), image_digest="")


class TestWhatIsNoted:
    def test_what_it_waits_for_is_noted_once_for_as_long_as_it_is_the_same(self, subject, cluster, look):
        spec = queued(subject)
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        cluster.jobs[job(spec)] = QUEUED

        assert [(change.action, change.detail) for change in look()] == [(ResultKind.NOTED, f"waiting: {QUEUED.detail}")]
        assert [change.action for change in look()] == [ResultKind.LEFT]
        assert (run().waiting_for, run().state) == (QUEUED.detail, "submitted")

        cluster.jobs[job(spec)] = Observation(status=Status.PENDING, detail="Pulling image")
        assert [change.action for change in look()] == [ResultKind.NOTED]
        begin_and_claim(spec)
        assert (run().waiting_for, run().state) == ("", "running")

    def test_a_run_that_is_suspended_waits_again_and_may_begin_again(self, at_work, cluster, look):
        cluster.jobs[job(at_work)] = Observation(status=Status.PENDING, detail="suspended by Kueue: preempted")

        look()

        assert (run().state, run().waiting_for) == ("submitted", "suspended by Kueue: preempted")
        assert RunEvent.objects.get().message == "attempt 1 was suspended by its back end and waits again: suspended by Kueue: preempted"
        begin_and_claim(at_work)

    def test_a_start_since_the_look_began_is_not_undone(self, at_work, cluster, look):
        (standing,) = store.unfinished_runs()
        assert store.claim(at_work, handle_of(at_work), image_digest="", again=True)
        TrainingRun.objects.update(started_at=F("started_at") + timedelta(seconds=1))

        Reconciler(runner_for=cluster, models_dir=Path("/nowhere"), stale_after=900).apply(standing, QUEUED, cluster)

        assert run().state == "running"

    def test_of_one_that_began_at_a_full_second_as_well(self, at_work, cluster, look):
        """Which SQLite keeps as other text than Python asks with."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE gregory_runs_trainingrun SET started_at = '2026-01-02 03:04:05.000'")
        cluster.jobs[job(at_work)] = QUEUED

        assert [change.action for change in look()] == [ResultKind.NOTED]
        assert run().waiting_for == QUEUED.detail

    def test_not_knowing_writes_since_when_and_nothing_else(self, at_work, cluster, look):
        cluster.away = "the API server does not answer"
        ago(heartbeat_at=99_999, progress_at=99_999)
        before = TrainingRun.objects.values().get()

        assert [change.action for change in look()] == [ResultKind.NOTED]
        since = run().unknown_since
        (change,) = look()
        assert (change.action, change.is_unseen) == (ResultKind.LEFT, True)
        told = "the API server does not answer; its status is unknown; unknown since"
        assert change.detail == f"{told} {since:%Y-%m-%d %H:%M:%S} UTC"

        assert TrainingRun.objects.values().get() == {**before, "unknown_since": since}
        assert results() == [None, None]

        cluster.away = ""
        ago(progress_at=0)
        look()
        assert run().unknown_since is None

    def test_the_node_is_kept(self, at_work, look):
        look()

        assert run().node == "node-1"

    def test_a_machine_that_cannot_be_asked_does_not_keep_the_others_from_being_looked_at(self, at_work, cluster, tmp_path):
        def runner_for(name: str) -> PretendCluster:
            raise PreconditionFailed("no kubeconfig")

        changes = list(Reconciler(runner_for=runner_for, models_dir=tmp_path, stale_after=900).reconcile_once())

        assert [(change.action, change.detail) for change in changes] == [(ResultKind.UNSEEN, "no kubeconfig")]
        assert results() == [None, None]

    def test_a_run_of_another_version_is_left_to_that_version(self, at_work, look):
        TrainingRun.objects.update(spec={**run().spec, "schema_number": 2})

        assert [change.action for change in look()] == [ResultKind.UNSEEN]

    def test_one_call_for_many(self, subject, cluster, look):
        for number in range(3):
            other = Subject.objects.create(subject_name=f"{number}", subject_slug=f"s{number}", team=subject.team)
            spec = queued(other)
            store.mark_submitted(spec, cluster.submit(cluster.render(spec)))

        look()

        assert cluster.looks == [3]


class TestMissing:
    def test_what_is_not_there_is_dead_only_if_it_is_not_there_later(self, at_work, cluster, look):
        cluster.jobs.clear()

        assert [change.action for change in look()] == [ResultKind.NOTED]
        assert [change.action for change in look()] == [ResultKind.LEFT]
        assert results() == [None, None]

        ago(missing_since=61)
        look()
        assert results() == [False, False]
        assert (run().state, run().reason, run().detail) == ("failed", "deleted", "the Job is not there")

    def test_a_model_that_was_complete_and_not_reported_is_none_that_failed(self, at_work, cluster, look, tmp_path):
        """Of who deleted the Job nobody knows whether the run could still write its row."""
        publish(tmp_path, at_work, position=0)
        cluster.jobs.clear()
        look()
        ago(missing_since=61)

        look()

        assert results() == [True, False]
        assert (run().state, run().reason, run().detail) == ("failed", "deleted", "the Job is not there")

    def test_who_does_not_see_the_models_comes_after_those_who_do(self, at_work, cluster, tmp_path):
        def look_elsewhere() -> list[ResultKind]:
            return [
                change.action
                for change in Reconciler(runner_for=cluster, models_dir=tmp_path / "elsewhere", stale_after=900).reconcile_once()
            ]

        cluster.jobs.clear()
        look_elsewhere()
        ago(missing_since=61)
        assert look_elsewhere() == [ResultKind.LEFT]

        ago(missing_since=121)
        assert look_elsewhere() == [ResultKind.CLOSED]
        assert results() == [False, False]

    def test_of_one_that_had_not_begun_there_is_nothing_to_see(self, at_work, cluster, tmp_path):
        TrainingRun.objects.update(state=RunState.SUBMITTED)
        cluster.jobs.clear()

        for _ in range(2):
            changes = list(Reconciler(runner_for=cluster, models_dir=tmp_path / "elsewhere", stale_after=900).reconcile_once())
            ago(missing_since=61)

        assert [change.action for change in changes] == [ResultKind.CLOSED]

    def test_what_is_there_again_was_not_missing(self, at_work, cluster, look):
        there = cluster.jobs.copy()
        cluster.jobs.clear()
        look()
        cluster.jobs.update(there)

        look()

        assert run().missing_since is None


class TestTriedAgain:
    def test_a_run_that_was_evicted_goes_on_in_another_attempt_in_the_same_rows(self, at_work, cluster, look):
        store.close_algorithm(at_work, outcome(at_work, 0))
        cluster.terminate(at_work, **EVICTED)

        (change,) = look()

        assert (change.action, change.reason) == (ResultKind.RETRIED, Reason.EVICTED)
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

    def test_the_attempt_before_writes_nothing_any_more(self, at_work, cluster, look):
        cluster.terminate(at_work, **EVICTED)
        look()

        assert not store.close_algorithm(at_work, outcome(at_work, 0))
        assert results() == [None, None]

    def test_it_is_tried_so_often_and_then_closed_with_the_reason(self, at_work, cluster, look):
        for _ in range(3):
            cluster.terminate(spec_now(), **EVICTED)
            look()

        assert len(cluster.submitted) == 3
        assert (run().state, run().reason, run().attempt) == ("failed", "evicted", 3)
        assert run().detail == "evicted: the node was low on memory; the run had 3 attempts, which is the limit"
        assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, run().detail)}

    @pytest.mark.parametrize("reason", [Reason.KILLED, Reason.DELETED, Reason.DEADLINE, Reason.IMAGE_PULL, Reason.NO_REPORT, Reason.ERROR])
    def test_other_ends_are_ends(self, at_work, cluster, look, reason):
        cluster.terminate(at_work, reason=reason)

        look()

        assert (run().state, run().reason, run().attempt) == ("failed", reason, 1)
        assert results() == [False, False]

    def test_a_run_that_gave_up_by_itself_goes_on(self, at_work, cluster, look):
        told = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(), interrupted="interrupted by signal 15 (SIGTERM)")
        cluster.terminate(at_work, reason=Reason.ERROR, summary="exit code 1", exit_code=1, report=told.model_dump_json())

        (change,) = look()

        assert (change.action, change.reason) == (ResultKind.RETRIED, Reason.INTERRUPTED)
        assert change.detail.startswith("interrupted by signal 15 (SIGTERM); exit code 1; attempt 2 with lstm, lgbm_tfidf: submitted as ")

    def test_a_run_that_outlived_a_worker_without_memory_did_not_die_of_that(self, at_work, cluster, look):
        store.begin_algorithm(at_work, at_work.algorithms[1].run_log_id)
        ends = (outcome(at_work, 0, success=False, error="out of memory"),)
        told = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=ends, interrupted="the database could not be reached")
        cluster.terminate(at_work, reason=Reason.OUT_OF_MEMORY, exit_code=1, report=told.model_dump_json())

        (change,) = look()

        assert (change.action, change.reason) == (ResultKind.RETRIED, Reason.INTERRUPTED)
        assert results() == [False, None]

    def test_what_took_it_away_counts_more_than_its_own_word(self, at_work, cluster, look):
        told = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(), interrupted="interrupted by signal 15 (SIGTERM)")
        cluster.terminate(at_work, reason=Reason.DELETED, report=told.model_dump_json())

        look()

        assert run().reason == "deleted"

    def test_a_reconciler_that_died_before_it_submitted_is_followed_by_another(self, at_work, cluster, look):
        cluster.terminate(at_work, **EVICTED)
        cluster.refuses = PreconditionFailed("429: try again later")
        (change,) = look()
        assert change.detail.endswith("not submitted yet: 429: try again later")
        assert (run().state, run().attempt) == ("pending", 2)
        cluster.refuses = None
        assert [change.action for change in look()] == [ResultKind.LEFT]

        ago(heartbeat_at=61)
        assert [change.action for change in look()] == [ResultKind.SUBMITTED]
        assert cluster.submitted == [job(at_work), job(spec_now())]


class TestOutOfMemory:
    def test_the_algorithm_that_ran_out_is_closed_and_those_behind_it_go_on(self, at_work, cluster, look):
        store.begin_algorithm(at_work, at_work.algorithms[0].run_log_id)
        cluster.terminate(at_work, **OUT_OF_MEMORY)

        look()

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

    def test_there_are_as_many_attempts_as_algorithms_at_most(self, at_work, cluster, look):
        for _ in at_work.algorithms:
            spec = spec_now()
            store.begin_algorithm(spec, spec.algorithms[0].run_log_id)
            cluster.terminate(spec, **OUT_OF_MEMORY)
            look()

        assert (run().state, run().reason, run().attempt) == ("failed", "out_of_memory", 2)
        assert results() == [False, False]

    def test_where_all_share_the_work_all_are_closed(self, at_work, cluster, look):
        AlgorithmRun.objects.update(stage="summarise")
        cluster.terminate(at_work, **OUT_OF_MEMORY)

        look()

        assert (run().state, run().reason, results()) == ("failed", "out_of_memory", [False, False])

    def test_what_was_in_training_before_the_last_attempt_is_not_blamed(self, at_work, cluster, look):
        store.begin_algorithm(at_work, at_work.algorithms[0].run_log_id)
        cluster.terminate(at_work, **EVICTED)
        look()

        assert store.in_training(spec_now()) == []


class TestEnded:
    def test_a_run_without_progress_is_ended_and_then_closed(self, at_work, cluster, look):
        ago(progress_at=1801)

        look()

        assert cluster.cancelled == [job(at_work)]
        assert (run().state, run().reason) == ("failed", "stalled")
        assert run().detail.startswith("stalled: no progress for 1801 s, the limit is 1800 s; last heartbeat 0 s ago")
        assert results() == [False, False]

    def test_a_run_that_does_not_go_is_not_closed_before_it_is_gone(self, at_work, cluster, look):
        ago(progress_at=1801)
        cluster.on_cancel = refuse_to_end

        (change,) = look()

        assert (change.action, change.reason) == (ResultKind.NOTED, Reason.STALLED)
        assert (run().state, run().reason, results()) == ("running", "stalled", [None, None])
        cluster.on_cancel = lambda handle: None
        look()
        assert (run().state, run().reason) == ("failed", "stalled")

    def test_runs_are_ended_side_by_side(self, at_work, subject, cluster, look):
        another = Subject.objects.create(subject_name="Another", subject_slug="another", team=subject.team)
        spec = store.open_run(planned(another, version="2"), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        store.claim(spec, handle_of(spec), image_digest="")
        ago(progress_at=1801)
        # Each goes on only when the other has been told as well.
        both = threading.Barrier(2, timeout=10)
        cluster.on_cancel = lambda handle: both.wait() and None

        changes = look()

        assert [change.action for change in changes] == [ResultKind.CLOSED, ResultKind.CLOSED]
        assert list(TrainingRun.objects.values_list("state", "reason")) == [("failed", "stalled")] * 2

    def test_one_that_is_not_seen_gone_does_not_keep_the_others_from_their_end(self, at_work, subject, cluster, look):
        another = Subject.objects.create(subject_name="Another", subject_slug="another", team=subject.team)
        spec = store.open_run(planned(another, version="2"), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        store.claim(spec, handle_of(spec), image_digest="")
        ago(progress_at=1801)
        cluster.on_cancel = lambda handle: refuse_to_end(handle) if handle.name == job(at_work) else None

        look()

        assert TrainingRun.objects.get(pk=at_work.run_id).state == "running"
        assert TrainingRun.objects.get(pk=spec.run_id).state == "failed"

    def test_a_run_that_waited_too_long_is_taken_back_before_its_rows_are_closed(self, subject, cluster, look):
        spec = queued(subject)
        store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
        cluster.jobs[job(spec)] = Observation(
            status=Status.PENDING,
            detail="ErrImagePull: not found; for 601 s",
            diagnosis=Diagnosis(summary="ErrImagePull: not found; for 601 s", reason=Reason.IMAGE_PULL),
        )

        look()

        assert (cluster.cancelled, cluster.jobs) == ([job(spec)], {})
        assert (run().state, run().reason, run().detail) == ("failed", "image_pull", "ErrImagePull: not found; for 601 s")

    def test_whoever_finds_it_gone_knows_why(self, at_work, cluster, look):
        store.announce_end(at_work, Diagnosis(summary="stalled: no progress for 1801 s", reason=Reason.STALLED))
        cluster.terminate(at_work, reason=Reason.DELETED)

        look()

        assert (run().state, run().reason, run().detail) == ("failed", "stalled", "stalled: no progress for 1801 s")

    def test_cancelling_closes_what_is_open(self, at_work, cluster, reconciler):
        store.close_algorithm(at_work, outcome(at_work, 0))

        reconciler.cancel(run(), by="me@here")

        assert cluster.cancelled == [job(at_work)]
        assert (run().state, run().reason, run().cancelled_by) == ("cancelled", "cancelled", "me@here")
        assert list(PredictionRunLog.objects.order_by("pk").values_list("success", "error_message")) == [
            (True, None),
            (False, "cancelled by me@here"),
        ]

    def test_who_saw_nothing_of_the_end_leaves_it_for_a_minute_to_those_who_did(self, at_work, cluster, look, reconciler):
        cluster.shows_ends = False

        change = reconciler.cancel(run(), by="me@here")

        assert change.detail == "cancelled by me@here; it is gone; the reconciler waits 60 s for an observation of its end"
        look()
        assert (run().state, results()) == ("running", [None, None])
        ago(missing_since=61)
        look()
        assert (run().state, results()) == ("cancelled", [False, False])

    def test_a_run_that_finishes_meanwhile_stays_succeeded(self, at_work, cluster, reconciler):
        def finish(handle: object) -> None:
            for position in (0, 1):
                store.close_algorithm(at_work, outcome(at_work, position))
            store.finish_run(at_work, RunState.SUCCEEDED, SUCCEEDED)

        cluster.on_cancel = finish

        reconciler.cancel(run(), by="me@here")

        assert (run().state, run().reason, results()) == ("succeeded", "", [True, True])

    def test_a_run_that_waits_for_a_machine_is_cancelled_alike(self, at_work, cluster, reconciler):
        TrainingRun.objects.update(state=RunState.SUBMITTED)
        cluster.jobs[job(at_work)] = QUEUED

        reconciler.cancel(run(), by="me@here")

        assert (cluster.cancelled, run().state) == ([job(at_work)], "cancelled")

    def test_a_queued_run_is_closed_and_the_command_that_queued_it_left_alone(self, subject, cluster, reconciler):
        queued(subject)

        reconciler.cancel(run(), by="me@here")

        assert (cluster.cancelled, run().state, run().detail) == ([], "cancelled", "cancelled by me@here before it was started")

    def test_a_cancelled_run_cannot_begin_nor_be_tried_again(self, at_work, cluster, look):
        TrainingRun.objects.update(state=RunState.SUBMITTED)
        store.announce_end(at_work, Diagnosis(summary="cancelled by me", reason=Reason.CANCELLED), cancelled_by="me")
        assert not store.claim(at_work, handle_of(at_work), image_digest="")
        cluster.terminate(at_work, **EVICTED)

        look()

        assert (run().state, run().reason, run().attempt) == ("cancelled", "cancelled", 1)

    def test_a_run_that_has_ended_is_not_cancelled(self, at_work, cluster, reconciler):
        before = run()
        store.end_run(at_work, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))

        with pytest.raises(store.RunRefused, match="has ended, or has another attempt; list it again"):
            reconciler.cancel(before, by="me@here")


class TestHandedOver:
    def test_what_a_dead_command_had_queued_is_submitted(self, subject, cluster, look):
        spec = store.open_run(
            planned(subject), runner="pretend", handle=cluster.owner_handle().model_copy(update={"uid": "dead"}), triggered_by="a test"
        )

        assert [change.action for change in look()] == [ResultKind.SUBMITTED]
        assert (cluster.submitted, run().state) == ([job(spec)], "submitted")

    def test_what_will_not_be_taken_is_closed_with_the_reason(self, subject, cluster, look):
        queued(subject)
        ago(heartbeat_at=61)
        cluster.refuses = SubmitError("quota exceeded: pods", reason=Reason.REFUSED)

        assert [change.action for change in look()] == [ResultKind.CLOSED]
        assert (run().state, run().reason, run().detail) == ("failed", "refused", "quota exceeded: pods")

    def test_what_was_cancelled_meanwhile_is_taken_back(self, subject, cluster, look):
        queued(subject)
        ago(heartbeat_at=61)
        cluster.on_submit = lambda spec, handle: store.end_run(
            spec, RunState.CANCELLED, Diagnosis(summary="by me", reason=Reason.CANCELLED)
        )

        (change,) = look()

        assert change.detail == f"another process ended it during the submission; {cluster.submitted[0]} was terminated"
        assert (cluster.jobs, run().state) == ({}, "cancelled")

    def test_a_job_that_no_row_knows_is_removed_and_one_opened_meanwhile_is_not(self, subject, cluster, monkeypatch, reconciler):
        monkeypatch.setitem(loop.RUNNERS, "pretend", "a test's")
        spec = queued(subject)
        cluster.submit(cluster.render(spec))
        cluster.jobs["run-nosuchrun-a1"] = Observation(status=Status.ALIVE, detail="its pod runs")

        assert list(reconciler.collect_garbage()) == ["run-nosuchrun-a1"]
        assert list(cluster.jobs) == [job(spec)]


class TestReplayed:
    def test_the_outcome_of_a_run_without_a_database_becomes_its_rows(self, at_work, cluster, look):
        ends = (outcome(at_work, 0), outcome(at_work, 1, success=False, error="why"))
        told = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=ends, interrupted="the database could not be reached")
        cluster.terminate(at_work, reason=Reason.ERROR, exit_code=1, report=told.model_dump_json())

        (change,) = look()

        succeeded, failed = PredictionRunLog.objects.order_by("pk")
        assert (succeeded.success, succeeded.algorithm_run.metrics) == (True, {"test_f1": 0.5})
        assert (failed.success, failed.error_message) == (False, "why")
        assert (run().state, run().reason, run().attempt, run().exit_code) == ("failed", "error", 1, 1)
        assert change.action is ResultKind.CLOSED

    def test_what_turns_out_to_have_succeeded_has_no_reason(self, at_work, cluster, look):
        told = RunOutcome(
            run_id=at_work.run_id, attempt=1, algorithms=(outcome(at_work, 0), outcome(at_work, 1)), interrupted="no database"
        )
        cluster.terminate(at_work, summary="its pod exited with code 143", report=told.model_dump_json())

        (change,) = look()

        assert (change.action, change.reason) == (ResultKind.SUCCEEDED, None)
        assert str(change).endswith(": succeeded: every model was complete; lost: its pod exited with code 143")

    def test_nothing_is_trained_again_that_had_ended(self, at_work, cluster, look):
        told = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(outcome(at_work, 0),), interrupted="no database")
        cluster.terminate(at_work, reason=Reason.ERROR, report=told.model_dump_json())

        look()

        assert results() == [True, None]
        assert spec_now().algorithms == at_work.algorithms[1:]

    @pytest.mark.parametrize("report", ["", "Traceback (most recent call last):", '{"run_id": "another", "attempt": 1, "algorithms": []}'])
    def test_what_is_no_report_of_this_attempt_says_nothing(self, at_work, cluster, look, report):
        cluster.terminate(at_work, reason=Reason.NO_REPORT, report=report)

        look()

        assert (run().reason, results()) == ("no_report", [False, False])

    def test_a_success_that_is_told_late_stays_a_success(self, at_work, cluster, look):
        told = RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(outcome(at_work, 0, success=False, error="late"),))
        store.close_algorithm(at_work, outcome(at_work, 0))
        cluster.terminate(at_work, reason=Reason.ERROR, report=told.model_dump_json())

        look()

        assert results() == [True, False]


def refuse_to_end(handle: object) -> None:
    raise TerminationTimeout("the pod is terminating on a node that does not answer")
