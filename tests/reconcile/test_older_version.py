"""Runs that version bbf93e9 began are finished by this version.

`recorded/bbf93e9.json` has that version's rows, the Job and pod of one run, and the outcome file of another. The code of bbf93e9 wrote
them. A change of stored words, JSON keys or labels makes these tests fail. Do not record the file again.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core import serializers

from gregory.launch.kubernetes.cluster_config import load_cluster_config
from gregory.launch.kubernetes.namespace import Listed
from gregory.launch.kubernetes.pages import ReadPage
from gregory.launch.kubernetes.runner import KubernetesRunner
from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Runner
from gregory.models import PredictionRunLog
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.reporting.runs import everything
from gregory.runs import store
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from tests.published import publish
from tools import golden_jobs
from tools.launch_installation import installation

pytestmark = [pytest.mark.django_db, pytest.mark.database]

RECORDED = json.loads((Path(__file__).parent / "recorded" / "bbf93e9.json").read_text(encoding="utf-8"))
ON_A_CLUSTER, ON_ANOTHER_HOST, BEING_CANCELLED, ENDED = "0123456789ab", "ba9876543210", "00ff00ff00ff", "ffffffffffff"


class RecordedNamespace:
    """The namespace with the recorded Job and pod. It lists by labels, as the API server does."""

    def __init__(self, job: dict[str, Any], pod: dict[str, Any]) -> None:
        self._job, self._pod = job, pod

    def jobs(self, selector: str, read: ReadPage) -> Listed:
        return _selected(self._job, selector, read)

    def pods(self, selector: str, read: ReadPage) -> Listed:
        return _selected(self._pod, selector, read)


def _selected(found: dict[str, Any], selector: str, read: ReadPage) -> Listed:
    labels = found["metadata"]["labels"]
    matches = all(labels.get(key) == value for key, _, value in (part.partition("=") for part in selector.split(",")))
    page = read(json.dumps({"items": [found] if matches else []}).encode())
    return Listed(items=page["items"], time=datetime(2026, 11, 1, 12, 5, tzinfo=UTC), version="1")


@pytest.fixture
def reconcile(tmp_path: Path):
    """Loads the recorded rows. Reconciles one run with the real runners, one of them over the recorded namespace."""
    for row in serializers.deserialize("json", json.dumps(RECORDED["rows"])):
        row.save()
    kubernetes = KubernetesRunner(installation(tmp_path))
    facts = {
        "_namespace": RecordedNamespace(RECORDED["cluster"]["job"], RECORDED["cluster"]["pod"]),
        "_config": load_cluster_config(golden_jobs.HERE / "cluster-minimal.yaml"),
        "_cluster_ids": (golden_jobs.CLUSTER_ID,),
    }
    vars(kubernetes).update(facts)
    runners: dict[str, Runner] = {"kubernetes": kubernetes, "local": LocalRunner(installation(tmp_path))}
    reconciler = Reconciler(runner_for=runners.__getitem__, models_dir=tmp_path, stale_after=900)

    def reconcile(run_id: str) -> ReconcileResult:
        (result,) = reconciler.reconcile_once([run_id])
        return result

    return reconcile


def rows(run_id: str) -> list[PredictionRunLog]:
    return list(PredictionRunLog.objects.filter(algorithm_run__run_id=run_id).order_by("pk"))


def test_a_run_on_a_cluster_succeeds_from_its_report(reconcile):
    assert reconcile(ON_A_CLUSTER).action is ResultKind.SUCCEEDED

    run = TrainingRun.objects.get(pk=ON_A_CLUSTER)
    assert (run.state, run.reason, run.exit_code, run.node, run.retries) == ("succeeded", "", 1, "node-2", 1)
    assert [(row.algorithm, row.success, row.algorithm_run.metrics) for row in rows(ON_A_CLUSTER)] == [
        ("lstm", True, {"test_f1": 0.5}),
        ("lgbm_tfidf", True, {"test_f1": 0.5}),
    ]
    assert rows(ON_A_CLUSTER)[0].algorithm_run.artifact_path == "team/on-a-cluster/lstm/20261101"


def test_a_run_without_heartbeat_is_lost_after_its_outcome_file_became_rows(reconcile, tmp_path: Path):
    report = tmp_path / ".runs" / ON_ANOTHER_HOST / "outcome.json"
    report.parent.mkdir(parents=True)
    report.write_text(RECORDED["outcome_file"], encoding="utf-8")
    publish(tmp_path, RunSpec.model_validate(TrainingRun.objects.get(pk=ON_ANOTHER_HOST).spec), position=0)

    assert reconcile(ON_ANOTHER_HOST).action is ResultKind.CLOSED

    lost = "lost: process 4711 belongs to host another-host and wrote no heartbeat for more than 900 s"
    run = TrainingRun.objects.get(pk=ON_ANOTHER_HOST)
    assert (run.state, run.reason, run.detail) == ("failed", "lost", lost)
    assert [(row.success, row.error_message) for row in rows(ON_ANOTHER_HOST)] == [(True, None), (False, lost)]


def test_an_announced_end_of_a_run_is_read(reconcile):
    run = TrainingRun.objects.get(pk=BEING_CANCELLED)

    announced = store.announced_end(RunSpec.model_validate(run.spec))

    assert announced is not None
    assert (announced.reason, announced.summary) == (Reason.CANCELLED, "cancelled by me@here")


def test_a_stored_specification_is_read_without_a_change(reconcile):
    for run in TrainingRun.objects.all():
        assert RunSpec.model_validate(run.spec).model_dump(mode="json") == run.spec


def test_stored_words_are_known(reconcile):
    assert {RunState(run.state) for run in TrainingRun.objects.all()} == {RunState.RUNNING, RunState.FAILED}
    assert Reason(TrainingRun.objects.get(pk=ENDED).reason) is Reason.OUT_OF_MEMORY
    assert list(RunEvent.objects.values_list("kind", flat=True)) == ["suspended", "retried"]


def test_a_run_that_ended_before_the_upgrade_is_shown_whole(reconcile):
    facts = everything(TrainingRun.objects.get(pk=ENDED), [])

    assert (facts["state"], facts["reason"], facts["exit_code"], facts["log_tail"]) == ("failed", "out_of_memory", 137, "last line")
    assert facts["detail"].startswith("OOMKilled: the kernel ended container gregory-train-ffffffffffff-a1")
