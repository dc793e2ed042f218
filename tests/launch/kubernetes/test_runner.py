"""Observations by one runner over changing objects of a cluster."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from gregory.launch.errors import Refused
from gregory.launch.kubernetes.cluster_config import load_cluster_config
from gregory.launch.kubernetes.diagnose.pod_status import indexed
from gregory.launch.kubernetes.labels import CONTROLLER_UID, KUEUE_JOB_UID, KUEUE_QUEUE, ORPHANED
from gregory.launch.kubernetes.manifest import handle_host
from gregory.launch.kubernetes.namespace import Listed, Namespace
from gregory.launch.kubernetes.orphans import is_orphan, read_jobs, remove
from gregory.launch.kubernetes.pages import ReadPage
from gregory.launch.kubernetes.runner import KubernetesRunner
from gregory.launch.preconditions import probe_spec
from gregory.launch.runner import Observation, Status
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle
from tests.kubernetes.recording import RECORDED
from tools import golden_jobs
from tools.launch_installation import installation

UID = "0f0e0d0c-0000-0000-0000-000000000000"
LIMIT = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}


class Objects:
    """The namespace: one Job and its pods, which a test changes."""

    def __init__(self, recording: dict[str, Any]) -> None:
        self.job, self.pod_list = [recording["job"]], recording["pods"]
        # asked: requests for Workloads.
        self.workload_list: list[dict[str, Any]] | None = None
        self.asked = 0
        # The phases of the claims by name. None: no permission.
        self.claims: dict[str, str | None] = {}
        self.claims_asked: list[str] = []

    def jobs(self, selector: str, read: ReadPage) -> Listed:
        return self._listed(self.job, read)

    def pods(self, selector: str, read: ReadPage) -> Listed:
        return self._listed(self.pod_list, read)

    def events(self, read: ReadPage) -> Listed:
        return self._listed([], read)

    def workloads(self) -> list[dict[str, Any]] | None:
        self.asked += 1
        return self.workload_list

    def claim_phase(self, name: str) -> str | None:
        self.claims_asked.append(name)
        return self.claims.get(name, "")

    def _listed(self, items: list[dict[str, Any]], read: ReadPage) -> Listed:
        return Listed(items=read(json.dumps({"items": items}).encode())["items"], time=datetime(2026, 11, 24, 19, tzinfo=UTC), version="1")


@pytest.fixture
def objects() -> Objects:
    recording = yaml.safe_load((RECORDED / "out_of_memory.yaml").read_text(encoding="utf-8"))
    recording["job"]["metadata"]["uid"] = UID
    recording["pods"][0]["metadata"]["labels"][CONTROLLER_UID] = UID
    return Objects(recording)


@pytest.fixture
def runner(objects: Objects, tmp_path: Path) -> KubernetesRunner:
    runner = KubernetesRunner(installation(tmp_path))
    config = load_cluster_config(golden_jobs.HERE / "cluster-minimal.yaml")
    vars(runner).update({"_namespace": objects, "_config": config, "_cluster_ids": (golden_jobs.CLUSTER_ID,)})
    return runner


@pytest.fixture
def handle(runner: KubernetesRunner, objects: Objects) -> RunHandle:
    host = handle_host(vars(runner)["_config"], cluster_id=golden_jobs.CLUSTER_ID)
    return RunHandle(host=host, name=objects.job[0]["metadata"]["name"], uid=UID)


@pytest.mark.parametrize("job_is_gone", [False, True])
def test_an_observed_end_stays_the_end_after_its_pod_is_gone(runner, objects, handle, job_is_gone):
    (end,) = runner.observe([handle])
    assert end.reason is Reason.OUT_OF_MEMORY

    objects.pod_list = []
    objects.job = [] if job_is_gone else [{**objects.job[0], "status": {"conditions": [LIMIT]}}]

    assert runner.observe([handle]) == [end]


def test_an_end_that_nobody_observed_is_no_deletion(runner, objects, handle):
    objects.pod_list = []
    objects.job = [{**objects.job[0], "status": {"conditions": [LIMIT]}}]

    (end,) = runner.observe([handle])

    assert (end.status, end.reason) == (Status.TERMINATED, Reason.KILLED)
    assert "perhaps because of its memory" in end.text


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_does_not_know_the_account_leaves_a_run_unknown(runner, objects, handle, status, monkeypatch):
    def refuse(selector: str, read: ReadPage) -> Listed:
        raise Refused("pods is forbidden", status=status)

    monkeypatch.setattr(objects, "pods", refuse)

    assert runner.observe([handle]) == [Observation(status=Status.UNKNOWN, detail="pods is forbidden")]


def test_objects_of_another_version_leave_only_their_run_unknown(runner, objects, handle):
    other = deepcopy(objects.job[0])
    other["metadata"].update(uid="other", name="other")
    del other["status"]
    unexpected = deepcopy(objects.pod_list[0])
    unexpected["metadata"].update(name="unexpected", labels={CONTROLLER_UID: "other"})
    unexpected["status"]["containerStatuses"] = [{"name": "run", "state": {"terminated": {"code": 1}}}]
    objects.job.append(other)
    objects.pod_list.append(unexpected)

    understood, unknown = runner.observe([handle, handle.model_copy(update={"uid": "other", "name": "other"})])

    assert understood.reason is Reason.OUT_OF_MEMORY
    assert (unknown.status, unknown.detail) == (
        Status.UNKNOWN,
        "Job other or its pod has not the expected content: KeyError: 'exitCode'",
    )


def test_a_job_without_the_container_of_a_run_is_no_orphan(runner):
    ours = runner.render(probe_spec()).request
    other = deepcopy(ours)
    other["spec"]["template"]["spec"]["containers"][0]["name"] = "trainer"

    assert (is_orphan(ours, [], ours=ours), is_orphan(other, [], ours=ours)) == (True, False)


@pytest.mark.parametrize("kind", ["FailureTarget", "SuccessCriteriaMet", "Failed", "Complete"])
def test_a_job_that_ends_by_itself_is_no_orphan_and_keeps_its_log(runner, kind):
    ours = runner.render(probe_spec()).request
    ending = ours | {"status": {"conditions": [{"type": kind, "status": "True"}]}}

    assert not is_orphan(ending, [], ours=ours)


@pytest.mark.parametrize(
    ("suspend", "kind", "status", "expected"),
    [
        (True, "SuccessCriteriaMet", {}, True),
        (True, "FailureTarget", {}, True),
        (False, "SuccessCriteriaMet", {}, False),
        (True, "Complete", {}, False),
        # Its end is not refused.
        (True, "SuccessCriteriaMet", {"startTime": "2026-11-24T18:00:00Z"}, False),
    ],
)
def test_a_suspended_job_that_cannot_end_is_an_orphan(runner, suspend, kind, status, expected):
    ours = runner.render(probe_spec()).request
    spec = ours["spec"] | {"suspend": suspend}
    job = ours | {"spec": spec, "status": {**status, "conditions": [{"type": kind, "status": "True"}]}}

    (kept,) = read_jobs(json.dumps({"items": [job]}).encode())["items"]

    assert [is_orphan(one, [], ours=ours) for one in (job, kept)] == [expected, expected]
    run_id = job["metadata"]["labels"]["gregory-train/run-id"]
    assert not is_orphan(job, [run_id], ours=ours)


@pytest.mark.parametrize("since", ["yesterday", "2026-11-24T18:00:00"])
def test_an_annotation_without_a_time_is_replaced(since):
    changed: list[dict[str, Any]] = []
    namespace = Mock(spec=Namespace, annotate_job=lambda job, annotations: changed.append(annotations))
    job = {"metadata": {"name": "job", "uid": UID, "annotations": {ORPHANED: since}}}

    assert not remove(namespace, job, now=datetime(2026, 11, 24, 19, tzinfo=UTC))

    assert changed == [{ORPHANED: "2026-11-24T19:00:00+00:00"}]


def test_the_events_of_a_sidecar_are_not_those_of_the_run():
    events = [
        {"reason": reason, "message": message, "involvedObject": {"kind": "Pod", "name": "pod", "fieldPath": f"spec.{place}"}}
        for reason, message, place in [
            ("Started", "Started container run", "containers{run}"),
            ("Killing", "Stopping container proxy", "initContainers{proxy}"),
            ("Pulling", 'Pulling image "proxy"', "initContainers{proxy}"),
        ]
    ]

    assert indexed(events).of("Pod", "pod") == {"Started": "Started container run", "Pulling": 'Pulling image "proxy"'}


def test_a_job_that_is_suspended_after_the_end_of_its_pod_is_queued(runner, objects, handle):
    runner.observe([handle])
    objects.pod_list = []
    suspended = deepcopy(objects.job[0])
    suspended["spec"]["suspend"], suspended["status"] = True, {}
    objects.job = [suspended]

    (seen,) = runner.observe([handle])

    assert seen.status is Status.PENDING


@pytest.mark.parametrize("readable", [True, False])
def test_workloads_are_read_on_request_and_only_while_a_job_waits(runner, objects, handle, readable):
    config = vars(runner)["_config"]
    kueue = config.kueue.model_copy(update={"queue_name": "gpus", "read_workloads": readable})
    vars(runner)["_config"] = config.model_copy(update={"kueue": kueue})
    pending = {"type": "QuotaReserved", "status": "False", "message": "LocalQueue gpus doesn't exist"}
    objects.workload_list = [{"metadata": {"labels": {KUEUE_JOB_UID: UID}}, "spec": {}, "status": {"conditions": [pending]}}]

    runner.observe([handle])
    assert objects.asked == 0

    objects.pod_list, job = [], objects.job[0]
    suspended = {"type": "Suspended", "status": "True", "lastTransitionTime": "2026-11-24T18:59:00Z"}
    job["spec"]["suspend"], job["status"], job["metadata"]["labels"][KUEUE_QUEUE] = True, {"conditions": [suspended]}, "gpus"
    (waiting,) = runner.observe([handle])
    assert objects.asked == readable
    assert waiting.text.endswith("waits for Kueue's queue gpus" + (": LocalQueue gpus doesn't exist" if readable else ""))


@pytest.mark.parametrize(
    ("phase", "reason"),
    [("", Reason.MISSING_OBJECT), ("Lost", Reason.MISSING_OBJECT), ("Bound", Reason.UNSCHEDULABLE), (None, Reason.UNSCHEDULABLE)],
)
def test_the_claims_of_an_unschedulable_pod_are_read(runner, objects, handle, phase, reason):
    runner.observe([handle])
    assert objects.claims_asked == []

    (pod,) = objects.pod_list
    pod["spec"]["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}, {"name": "tmp", "emptyDir": {}}]
    unschedulable = {"type": "PodScheduled", "status": "False", "message": "no node fits"}
    pod["metadata"]["creationTimestamp"] = "2026-11-20T19:00:00Z"
    pod["status"] = {"phase": "Pending", "conditions": [unschedulable]}
    objects.claims = {"models": phase}
    (waiting,) = runner.observe([handle])

    assert objects.claims_asked == ["models"]
    assert waiting.reason is reason


@pytest.mark.parametrize("status", [403, 404])
def test_workloads_of_a_cluster_without_the_right_or_without_kueue_are_unknown(status: int):
    api = Mock()
    api.request.side_effect = Refused("no", status=status)

    assert Namespace(api, "train").workloads() is None
    assert api.request.call_args.args == ("GET", "/apis/kueue.x-k8s.io/v1beta2/namespaces/train/workloads")


def test_a_priority_class_has_no_namespace():
    api = Mock()

    assert Namespace(api, "train").exists("workloadpriorityclasses", "high") is True
    assert api.request.call_args.args == ("GET", "/apis/kueue.x-k8s.io/v1beta2/workloadpriorityclasses/high")
