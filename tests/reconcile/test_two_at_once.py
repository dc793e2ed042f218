"""Several reconcilers act on the same runs at the same time, each with its own connection.

Collected on PostgreSQL only: the test database on SQLite is in memory and has one connection.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connections

from gregory.launch.runner import Observation, Status
from gregory.models import PredictionRunLog, Subject
from gregory.reconcile.loop import Reconciler
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from tests.database_rows import HERE, outcome, planned
from tests.reconcile.pretend_cluster import PretendCluster, handle_of, job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

RECONCILERS, ROUNDS = 4, 8


def at_once(work: Callable[[int], None], count: int = RECONCILERS) -> None:
    """Start all at once, each in a thread. An error of any of them fails the test."""
    together, errors = threading.Barrier(count), []

    def begin(number: int) -> None:
        try:
            together.wait()
            work(number)
        except Exception as error:  # noqa: BLE001 - of a thread, told below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


class Gate:
    """A cluster whose answer reaches all reconcilers before any of them acts on it."""

    def __init__(self, cluster: PretendCluster, count: int = RECONCILERS) -> None:
        self._cluster = cluster
        self._together = threading.Barrier(count)

    def __getattr__(self, name: str) -> object:
        return getattr(self._cluster, name)

    def observe(self, handles):
        observations = self._cluster.observe(handles)
        self._together.wait()
        return observations


def at_work(subject: Subject, cluster: PretendCluster) -> RunSpec:
    spec = store.open_run(planned(subject), runner="pretend", handle=HERE, triggered_by="a test")
    store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
    store.claim(spec, handle_of(spec), image_digest="")
    return spec


def test_an_attempt_is_opened_and_submitted_once(subject, tmp_path: Path):
    cluster = PretendCluster(max_attempts=ROUNDS + 2)
    at_work(subject, cluster)
    for _ in range(ROUNDS):
        spec = RunSpec.model_validate(TrainingRun.objects.get().spec)
        store.claim(spec, handle_of(spec), image_digest="")
        cluster.terminate(spec, reason=Reason.EVICTED)
        gate = Gate(cluster)

        at_once(
            lambda number, gate=gate: list(Reconciler(runner_for=lambda name: gate, models_dir=tmp_path, stale_after=900).reconcile_once())
        )

    assert TrainingRun.objects.values_list("attempt", "retries").get() == (ROUNDS + 1, ROUNDS)
    assert len(cluster.submitted) == len(set(cluster.submitted)) == ROUNDS + 1
    assert RunEvent.objects.filter(kind="retried").count() == ROUNDS
    assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {None}


def test_a_terminated_run_ends_once(subject, tmp_path: Path):
    cluster = PretendCluster()
    cluster.terminate(at_work(subject, cluster), reason=Reason.KILLED)
    gate = Gate(cluster)

    at_once(lambda number: list(Reconciler(runner_for=lambda name: gate, models_dir=tmp_path, stale_after=900).reconcile_once()))

    assert TrainingRun.objects.values_list("state", "reason", "attempt").get() == ("failed", "killed", 1)
    assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, "it ended")}


def test_rows_are_all_closed_or_all_retried(subject, tmp_path: Path):
    """Two reconcilers observe different causes. All rows are closed, or all continue in the next attempt."""
    cluster = PretendCluster(max_attempts=2)
    spec = at_work(subject, cluster)
    seen = [
        Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="it ended", reason=reason))
        for reason in (Reason.EVICTED, Reason.DELETED)
    ]

    def work(number: int) -> None:
        (standing,) = store.unfinished_runs()
        both.wait()
        Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900).apply(standing, seen[number], cluster)

    both = threading.Barrier(2)
    at_once(work, 2)

    run = TrainingRun.objects.get()
    outcome = (run.attempt, run.state, set(PredictionRunLog.objects.values_list("success", flat=True)), len(cluster.submitted))
    assert outcome in [(2, "pending", {None}, 1), (1, "failed", {False}, 1)]
    assert job(spec) == cluster.submitted[0]


def test_a_report_during_a_retry_is_written_or_becomes_an_event(subject, tmp_path: Path):
    cluster = PretendCluster()
    spec = at_work(subject, cluster)
    cluster.terminate(spec, reason=Reason.NODE_LOST)

    def work(number: int) -> None:
        if number == 0:
            list(Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900).reconcile_once())
        else:
            store.close_algorithm(spec, outcome(spec, 0))

    at_once(work, 2)

    run = TrainingRun.objects.get()
    succeeded = PredictionRunLog.objects.filter(success=True).values_list("pk", flat=True)
    left = [algorithm.run_log_id for algorithm in RunSpec.model_validate(run.spec).algorithms]
    assert run.attempt == 2
    # Either the report came first, and only the other algorithm is retried, or the report became an event.
    assert sorted([*left, *succeeded]) == [algorithm.run_log_id for algorithm in spec.algorithms]
    assert len(succeeded) + RunEvent.objects.filter(kind="late report").count() == 1
