"""Find the cause for which a run on a cluster has not started, and its duration. After a deadline it becomes a diagnosis. Pure.

Each kind of cause has a deadline of its own, a key of `deadlines` in the cluster file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from gregory.launch.kubernetes.cluster_sections import Deadlines
from gregory.launch.kubernetes.diagnose import kueue
from gregory.launch.kubernetes.diagnose.pod_status import (
    Events,
    Object,
    blocking_init_container,
    claims_of,
    condition,
    exit_text,
    is_being_deleted,
    lacks_a_claim,
    name_of,
    node_of,
    run_status,
)
from gregory.launch.kubernetes.pod_patch import PREPARE
from gregory.launch.runner import Observation, Status
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason

# The kubelet's reasons for an image that it cannot pull.
_IMAGE = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable",
    "SignatureValidationFailed",
}  # fmt: skip
# Events of a claim that is bound only after its pod has a node.
_WAITS_FOR_POD = {"WaitForFirstConsumer", "WaitForPodScheduled"}
_MOUNTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
# The cluster could not make a ResourceClaim of the pod, or the driver on the node could not prepare its device.
_NO_CLAIM, _NO_DEVICE = "FailedResourceClaimCreation", "FailedPrepareDynamicResources"
# The kubelet's reasons for a container that waits for the node or for another container.
_PREPARING = ("ContainerCreating", "PodInitializing")


class _Cause(NamedTuple):
    """key: its deadline in `deadlines`. since: its start. None: the time at which the pod got its node."""

    summary: str
    reason: Reason
    remedy: str
    key: str = "imagePullSeconds"
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocker:
    """summary: the cause. key: its deadline in `deadlines`. since: the start of the cause."""

    summary: str
    remedy: str
    reason: Reason
    key: str
    since: datetime


def wants_events(job: Object, pod: Object | None) -> bool:
    """Whether only events hold the cause."""
    if pod is None:
        return not job["spec"].get("suspend") or kueue.is_queued(job)
    if kueue.queue_of(job) and node_of(pod):
        # Those of earlier pods count too.
        return True
    if not node_of(pod):
        return lacks_a_claim(pod)
    return _is_preparing(blocking_init_container(pod) or run_status(pod))


def without_pod(job: Object, events: Events, *, now: datetime, deadlines: Deadlines) -> Observation:
    """The observation of a Job without a pod: it is queued, or its pod could not be created."""
    suspended = condition(job, "Suspended") or condition(job, "Suspended", status="False")
    if changing := _changing(job, suspended):
        return Observation(status=Status.PENDING, detail=changing)
    if job["spec"].get("suspend"):
        return _in_queue(job, suspended, kueue.queued(job, events, now=now) if kueue.is_queued(job) else kueue.Queued(), now, deadlines)
    since = _since(suspended, job, begun=job.get("status", {}).get("startTime"))
    refusal = events.of("Job", name_of(job)).get("FailedCreate", "")
    if not refusal:
        blocker = _Blocker(
            summary=f"Job {name_of(job)} has no pod yet",
            remedy="check the controller manager of the cluster",
            reason=Reason.NOT_STARTED,
            key="pendingSeconds",
            since=since,
        )
    elif "exceeded quota" in refusal:
        # Other runs will end and free the quota, so this is a kind of queue.
        remedy = "wait for other pods of the namespace to end, or raise its ResourceQuota"
        blocker = _Blocker(summary=f"FailedCreate: {refusal}", remedy=remedy, reason=Reason.REFUSED, key="pendingSeconds", since=since)
    else:
        remedy = "the API server refuses the pod: create the object that it names, or change the cluster file"
        blocker = _Blocker(summary=f"FailedCreate: {refusal}", remedy=remedy, reason=Reason.REFUSED, key="imagePullSeconds", since=since)
    return _observation(blocker, node="", now=now, deadlines=deadlines)


def with_pod(job: Object | None, pod: Object, events: Events, *, now: datetime, deadlines: Deadlines) -> Observation:
    """The observation of a pod before the start of its container."""
    if is_being_deleted(pod):
        return Observation(status=Status.PENDING, detail=f"pod {name_of(pod)} is being deleted and did not start", node=node_of(pod))
    scheduled = condition(pod, "PodScheduled")
    if scheduled is None:
        if (refusal := events.of("Pod", name_of(pod)).get(_NO_CLAIM, "")) and lacks_a_claim(pod):
            return _observation(_without_claim(pod, refusal), node="", now=now, deadlines=deadlines)
        return _observation(_unscheduled(pod, events), node="", now=now, deadlines=deadlines)
    earlier = kueue.earlier_starts(job, pod, events) if job is not None else timedelta()
    blocker = _unstarted(pod, events.of("Pod", name_of(pod)), since=_since(scheduled, pod) - earlier)
    return _observation(blocker, node=node_of(pod), now=now, deadlines=deadlines)


def _changing(job: Object, suspended: Object | None) -> str:
    """The change of the suspension that the Job controller has not made yet. Empty if there is none.

    Until then startTime and condition belong to the time before the change.
    """
    wanted, status = bool(job["spec"].get("suspend")), job.get("status", {})
    # A Job that was made suspended has no startTime before its first admission.
    observed = suspended["status"] == "True" if suspended else wanted and not status.get("startTime")
    if wanted == observed:
        return ""
    return f"queued again: Job {name_of(job)} is being suspended" if wanted else f"Job {name_of(job)} was released and starts"


def _in_queue(job: Object, suspended: Object | None, said: kueue.Queued, now: datetime, deadlines: Deadlines) -> Observation:
    queue = kueue.queue_of(job)
    # Short, so that a list of runs shows Kueue's words too.
    summary = f"queued: waits for Kueue's queue {queue}" if queue else f"queued: Job {name_of(job)} is suspended"
    if said.text:
        summary = f"{summary}: {said.text}"
    if said.end is not None:
        given_up = Diagnosis(summary=f"Kueue will not start Job {name_of(job)} again: {said.text}", remedy=said.remedy, reason=said.end)
        return Observation(status=Status.PENDING, detail=summary, diagnosis=given_up)
    by_default = f"check why the queue {queue} does not admit it" if queue else "find the cause of the suspension, or set suspend to false"
    since = _since(suspended, job)
    blocker = _Blocker(summary=summary, remedy=said.remedy or by_default, reason=Reason.UNSCHEDULABLE, key="queueSeconds", since=since)
    return _observation(blocker, node="", now=now, deadlines=deadlines)


def _unscheduled(pod: Object, events: Events) -> _Blocker:
    unscheduled = condition(pod, "PodScheduled", status="False") or {}
    summary = unscheduled.get("message") or "no scheduler has processed it yet"
    since = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    if any(name in events.claims and not _waits_for_pod(events.of("PersistentVolumeClaim", name)) for name in claims_of(pod)):
        remedy = "find out why the claim is not bound: kubectl describe pvc"
        return _Blocker(
            summary=f"unschedulable: {summary}", remedy=remedy, reason=Reason.MISSING_OBJECT, key="imagePullSeconds", since=since
        )
    of_claim = " or correct gpu.claim in the cluster file," if pod["spec"].get("resourceClaims") else ""
    remedy = f"free or add nodes with the requested resources,{of_claim} or request less in the cluster file"
    return _Blocker(summary=f"unschedulable: {summary}", remedy=remedy, reason=Reason.UNSCHEDULABLE, key="pendingSeconds", since=since)


def _without_claim(pod: Object, refusal: str) -> _Blocker:
    remedy = "create the ResourceClaimTemplate that it names, or correct gpu.claim in the cluster file"
    since = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return _Blocker(summary=f"{_NO_CLAIM}: {refusal}", remedy=remedy, reason=Reason.MISSING_OBJECT, key="imagePullSeconds", since=since)


def _waits_for_pod(events: Mapping[str, str]) -> bool:
    """Whether the newest event of the claim says so."""
    return bool(events) and list(events)[-1] in _WAITS_FOR_POD


def _unstarted(pod: Object, events: Mapping[str, str], *, since: datetime) -> _Blocker:
    """The cause for a pod on a node without a running container of the run."""
    first = blocking_init_container(pod)
    status = run_status(pod) if first is None else first
    # Its own init container has the image of the run, and the node gets it first for that container.
    of_run = first is None or (first["name"] == PREPARE and "waiting" in first.get("state", {}))
    if (lost := _without_containers(pod)) is not None:
        since, words = _since(lost, pod), "the node lost the containers of the pod before the run began, and makes no others"
        cause = _Cause(words, Reason.NODE_LOST, "check the node, and read its kubelet's log")
    elif _is_created(status):
        of = "the container of the run" if first is None else _init(first)
        cause = _Cause(f"the node created {of} and has not started it", Reason.NODE_LOST, "check the node, and read its kubelet's log")
    elif _is_preparing(status):
        cause = _preparation(pod, events, image=status.get("image") or "its image", of="" if first is None else _init(first), is_own=of_run)
    else:
        cause = _of_run(status) if of_run else _of_init_container(status)
    return _Blocker(summary=cause.summary, remedy=cause.remedy, reason=cause.reason, key=cause.key, since=cause.since or since)


def _without_containers(pod: Object) -> Object | None:
    """The condition of a pod whose containers are gone, although one of them has existed. None for other pods.

    The kubelet makes no second sandbox for a pod with the restart policy Never: `computePodActions` of kuberuntime.
    """
    if not any(status.get("containerID") for status in pod["status"].get("initContainerStatuses", [])):
        return None
    return condition(pod, "PodReadyToStartContainers", status="False")


def _is_created(status: Object) -> bool:
    """Whether the container exists and has not started. A node that restarts at this moment never starts it."""
    return bool(status.get("containerID")) and status.get("state") == {"waiting": {}}


def _is_preparing(status: Object) -> bool:
    """Whether the container waits for volumes, network or its image. A node that has not reported it prepares them."""
    state = status.get("state", {})
    return not state or state.get("waiting", {}).get("reason", "") in _PREPARING


def _preparation(pod: Object, events: Mapping[str, str], *, image: str, of: str, is_own: bool) -> _Cause:
    """of: the init container, or empty for the container of the run. is_own: it has the image of the run."""
    # The node has prepared volumes and network. Older clusters do not have this condition.
    prepared = condition(pod, "PodReadyToStartContainers") is not None
    mount = next((events[name] for name in _MOUNTS if name in events), "")
    if mount and not prepared:
        remedy = "create the object that it names, or correct the volumes of the cluster file"
        return _Cause(f"FailedMount: {mount}", Reason.MISSING_OBJECT, remedy)
    if _NO_DEVICE in events and not prepared:
        return _Cause(f"{_NO_DEVICE}: {events[_NO_DEVICE]}", Reason.REFUSED, "check the DRA driver of the device on the node")
    if "FailedCreatePodSandBox" in events and not prepared:
        remedy = "check the network and the container runtime of the node, and read its kubelet's log"
        return _Cause(f"FailedCreatePodSandBox: {events['FailedCreatePodSandBox']}", Reason.REFUSED, remedy)
    # The newest of the two: a container that starts before had a pull of its own.
    pull = next((name for name in reversed(list(events)) if name in ("Pulling", "Pulled")), "")
    if pull == "Pulled":
        # With many pods on a node this takes minutes.
        remedy = "find out why the node is busy, and read its kubelet's log"
        return _Cause(f"the node starts {of or 'the container of the run'}", Reason.NOT_STARTED, remedy, key="pendingSeconds")
    if prepared or pull:
        summary = f"pulling {image}" + ("" if is_own else f" of {of}")
        return _Cause(summary, Reason.IMAGE_PULL, "check the size of the image and the speed of its registry")
    return _Cause("the node prepares volumes and network", Reason.NOT_STARTED, "read the kubelet's log on the node")


def _of_run(status: Object) -> _Cause:
    """The cause in the state of the run's own container."""
    waiting = status.get("state", {}).get("waiting", {})
    kind, message = waiting.get("reason", ""), waiting.get("message", "")
    if kind in _IMAGE:
        remedy = "check that the image of the cluster file exists and that image.pullSecrets give access to its registry"
        return _Cause(f"{kind}: {message or status.get('image', '')}", Reason.IMAGE_PULL, remedy)
    if kind == "CreateContainerConfigError":
        remedy = "create the object that it names, or correct database.existingSecret, env or envFrom in the cluster file"
        return _Cause(f"{kind}: {message}", Reason.MISSING_OBJECT, remedy)
    return _Cause(f"{kind}: {message}", Reason.REFUSED, "use an image of Dockerfile.train, and check podTemplatePatch")


def _of_init_container(status: Object) -> _Cause:
    """The cause in the state of an init container, which the cluster file or a webhook has added."""
    state = status.get("state", {})
    waiting = state.get("waiting", {})
    kind, message = waiting.get("reason", ""), waiting.get("message", "")
    end = state.get("terminated") or status.get("lastState", {}).get("terminated")
    if kind in _IMAGE:
        remedy = "correct its image in podTemplatePatch, or give access to its registry with image.pullSecrets"
        return _Cause(f"{_init(status)}: {kind}: {message or status.get('image', '')}", Reason.IMAGE_PULL, remedy)
    if kind == "CreateContainerConfigError":
        remedy = "create the object that it names, or correct podTemplatePatch"
        return _Cause(f"{_init(status)}: {kind}: {message}", Reason.MISSING_OBJECT, remedy)
    if "running" in state:
        remedy = "find out why it takes so long, or raise deadlines.stallSeconds"
        began = state["running"].get("startedAt")
        since = datetime.fromisoformat(began) if began else None
        return _Cause(f"{_init(status)} runs, and the run waits for it", Reason.NOT_STARTED, remedy, key="stallSeconds", since=since)
    if end is not None:
        repeated = f"{kind}: " if kind else ""
        return _Cause(f"{repeated}{_init(status)} {exit_text(end)}", Reason.NOT_STARTED, "correct podTemplatePatch")
    return _Cause(f"{_init(status)}: {kind}: {message}", Reason.REFUSED, "correct podTemplatePatch")


def _init(status: Object) -> str:
    return f"init container {status['name']}"


def _observation(blocker: _Blocker, *, node: str, now: datetime, deadlines: Deadlines) -> Observation:
    limits = {
        "queueSeconds": deadlines.queue_seconds,
        "pendingSeconds": deadlines.pending_seconds,
        "imagePullSeconds": deadlines.image_pull_seconds,
        "stallSeconds": deadlines.stall_seconds,
    }
    limit = limits[blocker.key]
    waited = int((now - blocker.since).total_seconds())
    if limit is None or waited <= limit:
        return Observation(status=Status.PENDING, detail=blocker.summary, node=node)
    overdue = f"{blocker.summary}; for {waited} s, and deadlines.{blocker.key} is {limit}"
    diagnosis = Diagnosis(summary=overdue, remedy=blocker.remedy, reason=blocker.reason)
    return Observation(status=Status.PENDING, detail=blocker.summary, diagnosis=diagnosis, node=node)


def _since(found: Object | None, thing: Object, *, begun: str | None = None) -> datetime:
    """The time of the condition, else `begun`, else the creation of the object."""
    return datetime.fromisoformat((found or {}).get("lastTransitionTime") or begun or thing["metadata"]["creationTimestamp"])
