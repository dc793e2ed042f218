"""Derive the observation of an attempt from its Job, pods and events. Pure.

TERMINATED needs evidence that no pod works or will start. A pod that is being deleted, or that has a silent node, is no evidence.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from gregory.launch.kubernetes.cluster_sections import Deadlines
from gregory.launch.kubernetes.diagnose import ended, waiting
from gregory.launch.kubernetes.diagnose.pod_status import (
    NOT_UNDERSTOOD,
    Events,
    Object,
    condition,
    has_ended,
    is_being_deleted,
    is_finished,
    latest_end,
    name_of,
    newest,
    node_of,
    run_status,
    terminal_condition,
)
from gregory.launch.runner import Observation, Status
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason

# A kubelet needs this time to confirm the end of a pod after its deadline.
_CONFIRMATION = timedelta(seconds=30)


def wants_events(job: Object | None, pods: Sequence[Object]) -> bool:
    """Whether the diagnosis needs events. Most do not. False for objects that are not understood."""
    try:
        return _wants_events(job, pods)
    except NOT_UNDERSTOOD:
        return False


def _wants_events(job: Object | None, pods: Sequence[Object]) -> bool:
    pod = newest(pods)
    if pod is None:
        return job is not None and (ended.wants_events(job, pod) if is_finished(job) else waiting.wants_events(job, pod))
    if has_ended(pod):
        return ended.wants_events(job, pod)
    return job is not None and _is_pending(pod) and waiting.wants_events(job, pod)


def observe_job(
    job: Object | None, pods: Sequence[Object], events: Events, *, name: str, now: datetime, deadlines: Deadlines
) -> Observation:
    """The observation. name: of the Job, which may no longer exist. now: by the server's clock."""
    pod = newest(pods)
    if pod is None:
        return _without_pod(job, events, name=name, now=now, deadlines=deadlines)
    if has_ended(pod):
        return _after(pod, job, events)
    if node_of(pod) and is_being_deleted(pod) and now > datetime.fromisoformat(pod["metadata"]["deletionTimestamp"]) + _CONFIRMATION:
        # The grace period ends at the deletionTimestamp. Only the node knows whether the pod still works.
        return _on_a_silent_node(pod, f"pod {name_of(pod)} was to end, and node {node_of(pod)} does not confirm it", now=now)
    if _is_pending(pod):
        return waiting.with_pod(job, pod, events, now=now, deadlines=deadlines)
    unready = condition(pod, "Ready", status="False")
    if unready is not None and not unready.get("reason") and not is_being_deleted(pod):
        # The node controller wrote this condition. The kubelet's own has a reason.
        return _on_a_silent_node(pod, f"node {node_of(pod)}, which has pod {name_of(pod)}, does not answer the cluster", now=now)
    doing = "is ending" if is_being_deleted(pod) else "runs"
    return Observation(status=Status.ALIVE, detail=f"pod {name_of(pod)} {doing} on node {node_of(pod)}", node=node_of(pod))


def _on_a_silent_node(pod: Object, summary: str, *, now: datetime) -> Observation:
    """UNKNOWN until the deadline of the pod has passed. Its node enforces that deadline even without a connection to the cluster."""
    end = latest_end(pod)
    if end is None or now <= end + _CONFIRMATION:
        return Observation(status=Status.UNKNOWN, detail=summary, node=node_of(pod))
    overdue = f"{summary}, and its own deadline passed at {end:%Y-%m-%d %H:%M:%S} UTC"
    lost = Diagnosis(summary=overdue, remedy="check the node", reason=Reason.NODE_LOST)
    return Observation(status=Status.TERMINATED, diagnosis=lost, node=node_of(pod))


def _without_pod(job: Object | None, events: Events, *, name: str, now: datetime, deadlines: Deadlines) -> Observation:
    if job is None:
        summary = f"Job {name} no longer exists and left no report: it was deleted, or removed long after its end"
        gone = Diagnosis(summary=summary, remedy="resume it", reason=Reason.DELETED)
        return Observation(status=Status.TERMINATED, diagnosis=gone, missing=True)
    if is_finished(job):
        return ended.of_job(job, events, now=now)
    if is_being_deleted(job):
        return Observation(status=Status.PENDING, detail=f"Job {name} is being deleted")
    if terminal_condition(job) is not None:
        return Observation(status=Status.PENDING, detail=f"Job {name} is ending")
    return waiting.without_pod(job, events, now=now, deadlines=deadlines)


def _after(pod: Object, job: Object | None, events: Events) -> Observation:
    """The end of the attempt after the end of its pod, unless the Job will create another pod."""
    if job is not None and is_being_deleted(pod) and terminal_condition(job) is None and not is_being_deleted(job):
        if job["spec"].get("suspend"):
            summary = f"queued again: Job {name_of(job)} was suspended and its pod {name_of(pod)} deleted"
        else:
            summary = f"pod {name_of(pod)} was deleted, and Job {name_of(job)} has not reacted yet"
        return Observation(status=Status.PENDING, detail=summary, node=node_of(pod))
    return ended.of_pod(pod, job, events)


def _is_pending(pod: Object) -> bool:
    return pod.get("status", {}).get("phase", "Pending") == "Pending" and "running" not in run_status(pod).get("state", {})
