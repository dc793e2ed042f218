"""Runs of a newer version on the database of this one, as after a rollback of the program."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from gregory.launch.errors import UnknownRunner
from gregory.launch.runner import Runner
from gregory.ml.artifacts import MANIFEST, digest
from gregory.models import PredictionRunLog, Subject
from gregory.reconcile.decide import FOREIGN_GRACE
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.reporting.runs import everything
from gregory.runs import store
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunOutcome, RunSpec
from gregory.runs.states import RunState
from gregory.training import resume
from tests.database_rows import HERE, make_subject, planned
from tests.published import publish
from tests.reconcile.pretend_cluster import PretendCluster, handle_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EVICTED = {"reason": Reason.EVICTED, "summary": "evicted: the node was low on memory", "exit_code": 143}


def newer(spec: dict[str, Any]) -> dict[str, Any]:
    """A specification with a key and an algorithm that this version does not know."""
    spec["algorithms"][0]["algorithm"] = "transformer"
    return {**spec, "schema_number": 2, "team": {**spec["team"], "region": "eu"}, "budget_seconds": 3600}


def other_names(spec: dict[str, Any]) -> dict[str, Any]:
    return {"schema_number": "2b", "work": spec}


def not_an_object(spec: dict[str, Any]) -> list[Any]:
    return [2, spec]


@pytest.fixture
def reconciler(cluster: PretendCluster, tmp_path: Path) -> Reconciler:
    def runner_for(name: str) -> Runner:
        if name == "pretend":
            return cluster
        raise UnknownRunner(f"unknown runner {name!r}")

    return Reconciler(runner_for=runner_for, models_dir=tmp_path, stale_after=900)


@pytest.fixture
def reconcile(reconciler: Reconciler) -> Callable[[], list[ReconcileResult]]:
    return lambda: list(reconciler.reconcile_once())


@pytest.fixture(params=[newer, other_names, not_an_object])
def at_work(request: pytest.FixtureRequest, subject: Subject, cluster: PretendCluster) -> RunSpec:
    """A running run. Its row has a specification that this version cannot read. The result is what the newer version knows."""
    spec = begun(subject, cluster)
    TrainingRun.objects.update(spec=request.param(spec.model_dump(mode="json")))
    PredictionRunLog.objects.filter(pk=spec.algorithms[0].run_log_id).update(algorithm="transformer")
    return spec


def begun(subject: Subject, cluster: PretendCluster) -> RunSpec:
    spec = store.open_run(planned(subject), runner="pretend", handle=HERE, triggered_by="a test")
    store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
    assert store.claim(spec, handle_of(spec), image_digest="")
    return spec


def silent() -> None:
    """Let the last heartbeat be older than the time in which the newer version retries."""
    TrainingRun.objects.update(heartbeat_at=F("heartbeat_at") - timedelta(seconds=2 * FOREIGN_GRACE))


def run() -> TrainingRun:
    return TrainingRun.objects.get()


def results() -> list[bool | None]:
    return list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True))


def test_it_is_observed(at_work, reconcile):
    assert [(result.action, result.detail) for result in reconcile()] == [(ResultKind.NOTED, "its pod runs")]
    assert run().node == "node-1"


def test_its_own_report_closes_its_rows(at_work, cluster, reconcile):
    algorithms = [
        {"algorithm": "transformer", "run_log_id": at_work.algorithms[0].run_log_id, "version": "20260101", "success": True, "watts": 9},
        {
            "algorithm": "lgbm_tfidf", "run_log_id": at_work.algorithms[1].run_log_id, "version": "20260101", "success": False,
            "reason": "budget", "error": "the budget was spent",
        },
    ]  # fmt: skip
    report = {"run_id": at_work.run_id, "attempt": 1, "algorithms": algorithms, "watts": 9}
    cluster.terminate(at_work, report=json.dumps(report), exit_code=1)

    assert [result.action for result in reconcile()] == [ResultKind.CLOSED]

    assert results() == [True, False]
    assert list(AlgorithmRun.objects.order_by("position").values_list("reason", flat=True)) == ["", "budget"]
    assert (run().state, run().reason, run().exit_code) == ("failed", "budget", 1)


@pytest.mark.parametrize("at_work", [newer], indirect=True)
@pytest.mark.parametrize("same", [True, False])
def test_its_reported_model_is_a_success_if_its_manifest_is_the_reported_one(at_work, cluster, reconcile, tmp_path, same):
    folder = publish(tmp_path, at_work, position=1)
    described = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**described, "schema_number": 2, "watts": 9}))
    success = AlgorithmOutcome(**dict(at_work.algorithms[1]), success=True, digest=digest(folder) if same else "0" * 64)
    cluster.terminate(at_work, report=RunOutcome(run_id=at_work.run_id, attempt=1, algorithms=(success,)).model_dump_json())

    reconcile()

    assert results() == [False, same]


def test_its_end_is_written_with_the_reason_of_the_back_end(at_work, cluster, reconcile):
    cluster.terminate(at_work, reason=Reason.KILLED, summary="SIGKILL", exit_code=137)

    assert [result.action for result in reconcile()] == [ResultKind.CLOSED]

    assert results() == [False, False]
    assert (run().state, run().reason, run().detail) == ("failed", "killed", "SIGKILL")


def test_an_eviction_is_left_to_the_newer_version_for_a_minute(at_work, cluster, reconcile):
    cluster.terminate(at_work, **EVICTED)

    assert [(result.action, result.detail) for result in reconcile()] == [
        (
            ResultKind.NOTED,
            "evicted: the node was low on memory; another version of this program specified the run and may retry it; "
            "this version closes it in 60 s",
        )
    ]

    silent()
    assert [result.action for result in reconcile()] == [ResultKind.CLOSED]
    assert (results(), run().attempt, cluster.submitted) == ([False, False], 1, [f"run-{at_work.run_id}-a1"])
    assert (run().state, run().reason, run().detail) == (
        "failed",
        "evicted",
        "evicted: the node was low on memory; another version of this program specified the run and can resume it; "
        "this version cannot, so train again",
    )


def test_it_is_cancelled(at_work, cluster, reconciler):
    result = reconciler.cancel(run(), by="me")

    assert (result.action, cluster.cancelled) == (ResultKind.CLOSED, [f"run-{at_work.run_id}-a1"])
    assert (run().state, run().reason, results()) == ("cancelled", "cancelled", [False, False])


def test_it_is_cancelled_with_all_others(at_work, cluster, reconciler):
    ours = begun(make_subject(Subject.objects.get().team, "another"), cluster)

    changes = list(reconciler.cancel_all(cluster, by="me"))

    assert {change.run.run_id for change in changes} == {at_work.run_id, ours.run_id}
    assert {stored.state for stored in TrainingRun.objects.all()} == {"cancelled"}


def test_it_is_not_submitted_and_can_be_cancelled(at_work, cluster, reconcile, reconciler):
    TrainingRun.objects.update(state=RunState.PENDING, submitted_at=None, started_at=None)
    silent()

    assert [(result.action, result.detail) for result in reconcile()] == [
        (
            ResultKind.LEFT,
            "queued and not submitted; another version of this program specified the run: reconcile it with that version, "
            "or cancel it and train again",
        )
    ]
    assert cluster.submitted == [f"run-{at_work.run_id}-a1"]

    assert reconciler.cancel(run(), by="me").action is ResultKind.CLOSED
    assert (run().state, results()) == ("cancelled", [False, False])


def test_it_is_not_resumed(at_work, reconciler):
    TrainingRun.objects.update(state=RunState.FAILED)

    with pytest.raises(store.RunRefused, match=r"another version of this program specified the run; resume it with that version, or train"):
        resume.check(run(), reconciler)


def test_it_is_shown(at_work):
    facts = everything(run(), [])

    assert facts["run_id"] == at_work.run_id
    assert [row["algorithm"] for row in facts["algorithms"]] == ["transformer", "lgbm_tfidf"]


@pytest.mark.parametrize("words", [{"reason": "budget", "detail": "its budget is spent"}, {"state": "paused"}])
def test_unknown_words_stop_no_pass(words, subject, cluster, reconcile):
    spec = begun(subject, cluster)
    TrainingRun.objects.update(**words)
    ours = begun(make_subject(subject.team, "another"), cluster)
    cluster.terminate(ours, reason=Reason.KILLED, summary="SIGKILL")

    assert {result.run.run_id for result in reconcile()} == {spec.run_id, ours.run_id}

    assert TrainingRun.objects.get(pk=ours.run_id).reason == "killed"
    facts = everything(TrainingRun.objects.get(pk=spec.run_id), [])
    assert {name: facts[name] for name in words} == words


def test_an_announced_end_with_an_unknown_reason_is_executed(subject, cluster, reconcile):
    begun(subject, cluster)
    TrainingRun.objects.update(reason="budget", detail="its budget is spent")

    assert [result.action for result in reconcile()] == [ResultKind.CLOSED]
    assert (run().state, run().reason, run().detail, results()) == ("failed", "budget", "its budget is spent", [False, False])


def test_an_unknown_runner_stops_no_pass(subject, cluster, reconcile, reconciler):
    spec = begun(subject, cluster)
    TrainingRun.objects.update(runner="slurm")
    ours = begun(make_subject(subject.team, "another"), cluster)
    cluster.terminate(ours, reason=Reason.KILLED, summary="SIGKILL")

    assert {(result.run.run_id, result.action) for result in reconcile()} == {
        (spec.run_id, ResultKind.UNSEEN),
        (ours.run_id, ResultKind.CLOSED),
    }
    with pytest.raises(UnknownRunner):
        reconciler.cancel(TrainingRun.objects.get(pk=spec.run_id), by="me")
    assert TrainingRun.objects.get(pk=spec.run_id).reason == ""
