"""Why a run on a cluster has not begun, and since when: words with a remedy, and a reason once its time is over. Pure.

Each way of not getting on has a clock of its own, a key of `deadlines` in the cluster file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from gregory.launch.kubernetes.cluster_sections import Deadlines
from gregory.launch.kubernetes.diagnose.pod_status import (
    Events,
    Object,
    condition,
    is_being_deleted,
    name_of,
    node_of,
    parse_time,
    run_status,
)
from gregory.launch.kubernetes.labels import KUEUE_QUEUE
from gregory.launch.runner import Observation, Status
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason

# What the kubelet calls an image that it cannot have.
_IMAGE = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable",
    "SignatureValidationFailed",
}  # fmt: skip
_MOUNTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocker:
    """words: what is in the way. key: of `deadlines`, how long it may be there."""

    words: str
    remedy: str
    reason: Reason
    key: str
    since: datetime


def wants_events(job: Object, pod: Object | None) -> bool:
    """Whether only events know what is in the way."""
    if pod is None:
        return not job["spec"].get("suspend")
    waiting = run_status(pod).get("state", {}).get("waiting", {})
    return bool(node_of(pod)) and waiting.get("reason", "ContainerCreating") in ("ContainerCreating", "PodInitializing")


def without_pod(job: Object, events: Events, *, now: datetime, deadlines: Deadlines) -> Observation:
    """A Job that has no pod: held back by a queue, or nobody could make one."""
    if job["spec"].get("suspend"):
        return _observation(_queued(job), node="", now=now, deadlines=deadlines)
    since = parse_time(job.get("status", {}).get("startTime") or job["metadata"]["creationTimestamp"])
    refusal = events.of("Job", name_of(job)).get("FailedCreate", "")
    if not refusal:
        obstacle = _Blocker(
            words=f"Job {name_of(job)} has no pod yet",
            remedy="see whether the cluster's controller manager works",
            reason=Reason.NOT_STARTED,
            key="pendingSeconds",
            since=since,
        )
    elif "exceeded quota" in refusal:
        # Others' runs end, so a quota is a queue.
        remedy = "wait for other pods of the namespace to end, or have its ResourceQuota raised"
        obstacle = _Blocker(words=f"FailedCreate: {refusal}", remedy=remedy, reason=Reason.REFUSED, key="pendingSeconds", since=since)
    else:
        remedy = "the API server refuses the pod: create what it names, or change the cluster file"
        obstacle = _Blocker(words=f"FailedCreate: {refusal}", remedy=remedy, reason=Reason.REFUSED, key="imagePullSeconds", since=since)
    return _observation(obstacle, node="", now=now, deadlines=deadlines)


def with_pod(pod: Object, events: Events, *, now: datetime, deadlines: Deadlines) -> Observation:
    """A pod whose container has not begun."""
    if is_being_deleted(pod):
        return Observation(status=Status.PENDING, detail=f"pod {name_of(pod)} is being deleted before it began", node=node_of(pod))
    scheduled = condition(pod, "PodScheduled")
    obstacle = _unscheduled(pod) if scheduled is None else _unstarted(pod, events.of("Pod", name_of(pod)), since=_since(scheduled, pod))
    return _observation(obstacle, node=node_of(pod), now=now, deadlines=deadlines)


def _queued(job: Object) -> _Blocker:
    suspended = condition(job, "Suspended")
    queue = job["metadata"].get("labels", {}).get(KUEUE_QUEUE)
    words = f"queued: Job {name_of(job)} is suspended" + (f" and waits for Kueue's queue {queue}" if queue else "")
    remedy = f"see what holds the queue {queue} back" if queue else "whoever suspended it may resume it"
    return _Blocker(words=words, remedy=remedy, reason=Reason.UNSCHEDULABLE, key="queueSeconds", since=_since(suspended, job))


def _unscheduled(pod: Object) -> _Blocker:
    said = condition(pod, "PodScheduled", status="False") or {}
    words = said.get("message") or "no scheduler has looked at it yet"
    since = parse_time(pod["metadata"]["creationTimestamp"])
    if "persistentvolumeclaim" in words.lower():
        remedy = "see why the claim is not bound: kubectl describe pvc"
        return _Blocker(words=f"unschedulable: {words}", remedy=remedy, reason=Reason.MISSING_OBJECT, key="imagePullSeconds", since=since)
    remedy = "free or add nodes that have what it asks for, or ask for less in the cluster file"
    return _Blocker(words=f"unschedulable: {words}", remedy=remedy, reason=Reason.UNSCHEDULABLE, key="pendingSeconds", since=since)


def _unstarted(pod: Object, told: Mapping[str, str], *, since: datetime) -> _Blocker:
    """On a node, and its container not running."""
    waiting = run_status(pod).get("state", {}).get("waiting", {})
    kind, message = waiting.get("reason", "ContainerCreating"), waiting.get("message", "")
    image = run_status(pod).get("image") or "its image"
    # The node has its volumes and its network; older clusters do not say so.
    prepared = condition(pod, "PodReadyToStartContainers") is not None
    mount = next((told[name] for name in _MOUNTS if name in told), "")
    if kind in _IMAGE:
        words, reason = f"{kind}: {message or image}", Reason.IMAGE_PULL
        remedy = "see that the image of the cluster file exists, and that image.pullSecrets open its registry"
    elif kind == "CreateContainerConfigError":
        words, reason = f"{kind}: {message}", Reason.MISSING_OBJECT
        remedy = "create what it names: database.existingSecret, env and envFrom of the cluster file say which there must be"
    elif kind not in ("ContainerCreating", "PodInitializing"):
        words, reason, remedy = f"{kind}: {message}", Reason.REFUSED, "see that the image is one of Dockerfile.train, and the patch right"
    elif mount and not prepared:
        words, reason = f"FailedMount: {mount}", Reason.MISSING_OBJECT
        remedy = "create what it names, or correct the volumes of the cluster file"
    elif "FailedCreatePodSandBox" in told and not prepared:
        words, reason = f"FailedCreatePodSandBox: {told['FailedCreatePodSandBox']}", Reason.REFUSED
        remedy = "the node's network or runtime is at fault; see its kubelet's log"
    elif prepared or "Pulling" in told:
        words, reason, remedy = f"pulling {image}", Reason.IMAGE_PULL, "see how large the image is and how fast its registry"
    else:
        words, reason, remedy = "the node prepares volumes and network", Reason.NOT_STARTED, "see the kubelet's log on the node"
    return _Blocker(words=words, remedy=remedy, reason=reason, key="imagePullSeconds", since=since)


def _observation(obstacle: _Blocker, *, node: str, now: datetime, deadlines: Deadlines) -> Observation:
    budgets = {
        "queueSeconds": deadlines.queue_seconds,
        "pendingSeconds": deadlines.pending_seconds,
        "imagePullSeconds": deadlines.image_pull_seconds,
    }
    budget = budgets[obstacle.key]
    waited = int((now - obstacle.since).total_seconds())
    if budget is None or waited <= budget:
        return Observation(status=Status.PENDING, detail=obstacle.words, node=node)
    summary = f"{obstacle.words}; for {waited} s, and deadlines.{obstacle.key} is {budget}"
    overdue = Diagnosis(summary=summary, remedy=obstacle.remedy, reason=obstacle.reason)
    return Observation(status=Status.PENDING, detail=obstacle.words, diagnosis=overdue, node=node)


def _since(found: Object | None, thing: Object) -> datetime:
    return parse_time((found or {}).get("lastTransitionTime") or thing["metadata"]["creationTimestamp"])
