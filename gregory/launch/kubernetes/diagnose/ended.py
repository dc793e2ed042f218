"""Diagnose the end of a run on a cluster: from its pod, or without a pod from its Job and events. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from signal import Signals
from typing import NamedTuple

from gregory.launch.kubernetes.diagnose.pod_status import (
    Events,
    Object,
    condition,
    end_of,
    exit_text,
    is_being_deleted,
    log_tail,
    memory_limit,
    name_of,
    node_of,
    report_of,
    terminated,
)
from gregory.launch.kubernetes.manifest import matched_rule
from gregory.launch.kubernetes.pod_patch import PREPARE
from gregory.launch.runner import Observation, Status
from gregory.runs import exit_codes
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.exit_codes import signal_of
from gregory.runs.reasons import Reason

# Container runtimes write this exit code and reason for a container that ended while they did not run, for example in a power failure.
_UNSEEN_CODE, _UNSEEN_REASON = 255, "Unknown"
# The kubelet writes this reason for a container that it does not find any more.
_UNSEEN_CONTAINER = "ContainerStatusUnknown"
# A node that does not reach the API server repeats an event after ten seconds.
_LATE_EVENTS = timedelta(seconds=30)
_LONG_AGO = "1970-01-01T00:00:00Z"
# A container runtime that is stopped while it starts a container gives such an error. That of a bad image begins "OCI runtime".
_RUNTIME_STOPPED = re.compile(r"context canceled|context deadline exceeded|ttrpc: closed|transport is closing|connection refused")
_EXIT_CODE = re.compile(r"failed with exit code (\d+)")
_POD = re.compile(r"[Pp]od [^\s/]+/(\S+) ")
_CREATED_POD = re.compile(r"Created pod: (\S+)")
# The remedy if the pod was deleted and its Job was not.
_DELETED_POD = "find the cause of the deletion; cancel the run if it must not continue"


class _Cause(NamedTuple):
    reason: Reason
    summary: str
    remedy: str


_PREEMPTED = _Cause(
    Reason.PREEMPTED, "preempted: a pod of higher priority got its place", "give runs another priorityClassName, or resume it"
)
_EVICTED = _Cause(
    Reason.EVICTED, "evicted through the Eviction API, as kubectl drain and autoscalers do", "resume it; find out why the node was drained"
)
_REMOVED = _EVICTED._replace(summary=f"{_EVICTED.summary}, or removed with its node")  # neither leaves an event
_TAINTED = _Cause(
    Reason.EVICTED, "evicted: its node got a taint, NoExecute, that it does not tolerate", "resume it, or tolerate the taint in tolerations"
)
_PRESSED = _Cause(Reason.EVICTED, "evicted: its node ran out of a resource", "give runs resources.requests that cover what they use")
_OVER_DISK = _Cause(
    Reason.EVICTED,
    "evicted: it used more disk than its limit",
    "raise resources.limits.ephemeral-storage or sharedMemory.size, as the message indicates",
)
_SHUT_DOWN = _Cause(Reason.NODE_LOST, "its node was shut down", "resume it")
_GONE = _Cause(Reason.NODE_LOST, "its node was removed from the cluster", "resume it; check the node")
_SILENT = _Cause(Reason.NODE_LOST, "its node stopped answering, and the cluster deleted its pods", "resume it; check the node")
_UNSEEN = _Cause(Reason.NODE_LOST, "its node was down or restarted, and lost its container", "resume it; check the node")
_DEADLINE = _Cause(
    Reason.DEADLINE,
    "it worked longer than the deadline of its pod",
    "raise deadlines.runSeconds, or train fewer algorithms at once; then resume it",
)
_JOB_DEADLINE = _Cause(
    Reason.DEADLINE, "its Job existed longer than its deadline", "raise deadlines.pendingSeconds or deadlines.runSeconds; then resume it"
)

# By the reason of a pod's condition DisruptionTarget.
_DISRUPTIONS = {
    "PreemptionByScheduler": _PREEMPTED,
    "EvictionByEvictionAPI": _EVICTED,
    "DeletionByTaintManager": _TAINTED,
    "DeletionByPodGC": _GONE,
    "TerminationByKubelet": _PRESSED,
}
# By the reason in a pod's status, which the kubelet writes.
_STATUSES = {
    "Evicted": _PRESSED,
    "DeadlineExceeded": _DEADLINE,
    "Preempting": _PREEMPTED,
    "NodeShutdown": _SHUT_DOWN,
    "Terminated": _SHUT_DOWN,
    "Shutdown": _SHUT_DOWN,
    "NodeLost": _SILENT,
}
# By the events of a deleted pod, the most specific first.
_EVENTS = {"Preempted": _PREEMPTED, "Evicted": _PRESSED, "NodeNotReady": _SILENT, "TaintManagerEviction": _TAINTED}


def wants_events(job: Object | None, pod: Object | None) -> bool:
    """Whether only events hold the cause of the end."""
    if pod is not None:
        return (condition(pod, "DisruptionTarget") or {}).get("reason") == "DeletionByTaintManager"
    failed = (condition(job, "Failed") if job is not None else None) or {}
    return failed.get("reason") == "BackoffLimitExceeded" or matched_rule(failed.get("message", "")) == "disrupted"


def of_pod(pod: Object, job: Object | None, events: Events) -> Observation:
    """The end of a run that still has its pod."""
    cause, message = _disruption(pod, events.of("Pod", name_of(pod)))
    if cause is not None:
        return _with_pod(pod, cause.reason, f"pod {name_of(pod)}: {cause.summary}{message}", cause.remedy)
    deadline = condition(job, "FailureTarget") or condition(job, "Failed") if job else None
    if deadline and deadline.get("reason") == "DeadlineExceeded":
        return _with_pod(pod, _JOB_DEADLINE.reason, f"pod {name_of(pod)}: {_JOB_DEADLINE.summary}", _JOB_DEADLINE.remedy)
    if terminated(pod) is None:
        return _never_ran(pod)
    if pod.get("status", {}).get("reason"):
        return _rejected(pod)
    return _exited(pod, was_deleted=is_being_deleted(pod), with_its_job=job is None or is_being_deleted(job))


def of_job(job: Object, events: Events, *, now: datetime) -> Observation:
    """The end of a Job without a pod. UNKNOWN if its cause may still arrive as an event."""
    name, failed = name_of(job), condition(job, "Failed") or condition(job, "FailureTarget")
    if failed is None:
        return _without_pod(
            Reason.NO_REPORT, f"Job {name} completed and left no report; its pod no longer exists", "read the run's log if a copy exists", 0
        )
    reason, message = failed.get("reason", ""), failed.get("message", "")
    rule = matched_rule(message) if reason == "PodFailurePolicy" else None
    found, pod = _EXIT_CODE.search(message), _POD.search(message)
    code = int(found[1]) if found else None
    if reason == "DeadlineExceeded":
        return _without_pod(_JOB_DEADLINE.reason, f"Job {name}: {_JOB_DEADLINE.summary}; its pod was deleted", _JOB_DEADLINE.remedy)
    if rule == "disrupted":
        messages = events.of("Pod", pod[1]) if pod else {}
        event, cause = next(((event, cause) for event, cause in _EVENTS.items() if event in messages), ("", _REMOVED))
        quoted = f" ({messages[event]})" if event else ""
        return _without_pod(cause.reason, f"pod {pod[1] if pod else 'of Job ' + name}: {cause.summary}{quoted}", cause.remedy)
    if code == _UNSEEN_CODE:
        return _without_pod(
            _UNSEEN.reason, f"pod of Job {name}: {_UNSEEN.summary} (exit code {code}); it no longer exists", _UNSEEN.remedy, code
        )
    if code is not None and (signal := signal_of(code)):
        memory = ", perhaps because of its memory," if signal is Signals.SIGKILL else ""
        summary = f"pod of Job {name} was ended by signal {signal.value} ({signal.name}){memory} and no longer exists"
        return _without_pod(Reason.KILLED, summary, "find the sender of the signal or the cause of the deletion", code)
    if code is not None:
        return _without_pod(None, f"pod of Job {name} exited with code {code}, left no report and no longer exists", "", code)
    if reason == "BackoffLimitExceeded":
        return _unclassified(name, events, age=now - datetime.fromisoformat(failed.get("lastTransitionTime") or _LONG_AGO))
    return _without_pod(None, f"Job {name} failed: {reason}: {message}", "")


def _unclassified(job: str, events: Events, *, age: timedelta) -> Observation:
    """The end of a pod that matched no rule with the action FailJob. Its events name the cause for an hour. age: of the end."""
    created = _CREATED_POD.search(events.of("Job", job).get("SuccessfulCreate", ""))
    messages = events.of("Pod", created[1]) if created else {}
    if "DeadlineExceeded" in messages:
        return _without_pod(_DEADLINE.reason, f"pod of Job {job}: {_DEADLINE.summary}; it no longer exists", _DEADLINE.remedy)
    # The node ended the container by request.
    if "Killing" in messages:
        return _without_pod(Reason.INTERRUPTED, f"pod of Job {job} was deleted, and the end of its run was not observed", _DELETED_POD)
    if "NodeNotReady" in messages:
        return _without_pod(_UNSEEN.reason, f"pod of Job {job}: {_UNSEEN.summary}; it no longer exists", _UNSEEN.remedy)
    if "Scheduled" in messages and "Started" not in messages:
        return _without_pod(Reason.INTERRUPTED, f"pod of Job {job} ended before its run began, and no longer exists", _DELETED_POD)
    if age < _LATE_EVENTS:
        return Observation(status=Status.UNKNOWN, detail=f"pod of Job {job} no longer exists, and the node may still report why it ended")
    # The cluster removes a deleted pod without a node at once. Events of a node that started it would have arrived by now.
    if "FailedScheduling" in messages and not {"Scheduled", "Started"} & messages.keys():
        return _without_pod(Reason.INTERRUPTED, f"pod of Job {job} was deleted before it got a node", _DELETED_POD)
    summary = f"pod of Job {job} was ended by a signal (exit code 137 or 143), perhaps because of its memory, and no longer exists"
    return _without_pod(Reason.KILLED, summary, "compare its memory with resources.limits.memory, or find the sender of the signal")


def _disruption(pod: Object, events: Mapping[str, str]) -> tuple[_Cause | None, str]:
    """The cause for which the cluster ended the pod, and the cluster's message in brackets."""
    disruption, status = condition(pod, "DisruptionTarget"), pod.get("status", {})
    by_kubelet = status.get("reason", "")
    if by_kubelet in _STATUSES:
        message = status.get("message", "").strip()
        cause = _OVER_DISK if _STATUSES[by_kubelet] is _PRESSED and "exceeds" in message else _STATUSES[by_kubelet]
        return cause, f" ({message})" if message else ""
    if disruption is None:
        return None, ""
    cause = _DISRUPTIONS.get(disruption.get("reason", ""), _EVICTED)
    if cause is _TAINTED and "NodeNotReady" in events:
        return _SILENT, ""
    return cause, f" ({disruption['message'].strip()})" if disruption.get("message") else ""


def _never_ran(pod: Object) -> Observation:
    if is_being_deleted(pod):
        return _with_pod(pod, Reason.INTERRUPTED, f"pod {name_of(pod)} was deleted before its run began", _DELETED_POD)
    for container in pod.get("status", {}).get("initContainerStatuses") or []:
        end = end_of(container, pod) or {}
        if _is_unseen(end):
            summary = f"pod {name_of(pod)}: {_UNSEEN.summary} (init container {container['name']}: {_unseen_text(end)})"
            return _with_pod(pod, _UNSEEN.reason, summary, _UNSEEN.remedy)
        if end.get("exitCode") and container["name"] == PREPARE:
            return _not_prepared(pod, end)
        if end.get("exitCode"):
            summary = f"its init container {container['name']} {exit_text(end)}"
            return _with_pod(pod, Reason.NOT_STARTED, f"pod {name_of(pod)} never started: {summary}", "correct podTemplatePatch")
    return _rejected(pod)


def _rejected(pod: Object) -> Observation:
    """The end of a pod that its kubelet refused, with a reason other than those of _STATUSES.

    A GPU may have failed since the scheduler chose the node. A kubelet that has just started may not know its resources yet, and then
    ends also a container that runs.
    """
    told = ": ".join(str(pod["status"][key]) for key in ("reason", "message") if pod.get("status", {}).get(key))
    summary = f"pod {name_of(pod)} was rejected by its node {node_of(pod)}: {told or 'it gave no reason'}"
    return _with_pod(pod, Reason.EVICTED, summary, "resume it; check the node")


def _not_prepared(pod: Object, end: Object) -> Observation:
    """The end of a run whose folder could not be made in the models volume."""
    if refused := _refused_start(pod, end):
        return refused
    summary = f"pod {name_of(pod)}: the folder of its run was not made: init container {PREPARE} {exit_text(end)}"
    reason = Reason.STORAGE if end["exitCode"] == exit_codes.FAILURE else Reason.NOT_STARTED
    return _with_pod(pod, reason, summary, "" if reason is Reason.STORAGE else f"resume it; check node {node_of(pod)}")


def _refused_start(pod: Object, end: Object) -> Observation | None:
    """The end of a container that its node could not start. None if it started."""
    if end.get("reason") not in ("StartError", "ContainerCannotRun"):
        return None
    name, message = name_of(pod), end.get("message", "")
    if _RUNTIME_STOPPED.search(message) and "OCI runtime" not in message:
        summary = f"pod {name}: its node's container runtime stopped while it started the container ({message.strip()})"
        return _with_pod(pod, Reason.NODE_LOST, summary, f"check node {node_of(pod)}", with_log=False)
    summary = f"{end['reason']}: the container of pod {name} could not be started: {message.strip()}"
    return _with_pod(pod, Reason.REFUSED, summary, "use an image of Dockerfile.train, and check podTemplatePatch", with_log=False)


def _exited(pod: Object, *, was_deleted: bool, with_its_job: bool) -> Observation:
    end, name, report = terminated(pod) or {}, name_of(pod), report_of(pod)
    code = int(end["exitCode"])
    if end.get("reason") == "OOMKilled":
        limit = memory_limit(pod)
        bound = f"its limit is {limit}" if limit else "its node has no more memory"
        # The kernel may have killed one process of the run, so the run may end with any code.
        summary = f"OOMKilled: pod {name} ran out of memory: {bound} (exit code {code})"
        return _with_pod(pod, Reason.OUT_OF_MEMORY, summary, "raise resources.limits.memory in the cluster file, or lower bert.batch_size")
    if refused := _refused_start(pod, end):
        return refused
    if report and any(algorithm.reason is Reason.NO_GPU for algorithm in report.algorithms):
        summary = f"pod {name} was assigned a GPU and found none on node {node_of(pod)}"
        return _with_pod(pod, Reason.NO_GPU, summary, "check driver and device plugin of the node, or set gpu.required to false")
    if with_its_job and (signal_of(code) or _is_unseen(end)):
        # This takes precedence over the outcome report: the deletion of a Job is a request to end the run.
        summary = f"the Job of pod {name} was deleted, and the pod ended with exit code {code}"
        return _with_pod(pod, Reason.DELETED, summary, "find the cause of the deletion; then resume the run")
    if _is_unseen(end):
        summary, with_log = f"pod {name}: {_UNSEEN.summary} ({_unseen_text(end)})", end["reason"] != _UNSEEN_CONTAINER
        return _with_pod(pod, _UNSEEN.reason, summary, f"check node {node_of(pod)}", with_log=with_log)
    if report and (code == exit_codes.SIGTERM or not signal_of(code)):
        return _with_pod(pod, None, f"pod {name} exited with code {code} and left a report", "")
    if was_deleted and signal_of(code):
        kept = "its run stopped in order" if code == exit_codes.SIGTERM else "its run did not stop within the grace period"
        return _with_pod(pod, Reason.INTERRUPTED, f"pod {name} was deleted; {kept}, exit code {code}", _DELETED_POD)
    if signal := signal_of(code):
        summary = f"pod {name} was ended by signal {signal.value} ({signal.name}), exit code {code}, not because of its memory"
        return _with_pod(pod, Reason.KILLED, summary, f"find the sender on node {node_of(pod)}")
    if code == 0:
        return _with_pod(pod, Reason.NO_REPORT, f"pod {name} exited with code 0 and left no report", "read its log")
    return _with_pod(pod, None, f"pod {name} exited with code {code} and left no report", "")


def _is_unseen(end: Object) -> bool:
    """Whether a container ended while its node was down, so that nobody observed its end."""
    return end.get("reason") == _UNSEEN_CONTAINER or (end.get("exitCode"), end.get("reason")) == (_UNSEEN_CODE, _UNSEEN_REASON)


def _unseen_text(end: Object) -> str:
    # A message of the container runtime would be the log.
    message = end.get("message", "").strip() if end["reason"] == _UNSEEN_CONTAINER else ""
    return f"{end['reason']}{f': {message}' if message else ''}, exit code {end['exitCode']}"


def _with_pod(pod: Object, reason: Reason | None, summary: str, remedy: str, *, with_log: bool = True) -> Observation:
    end, report = terminated(pod) or {}, report_of(pod)
    diagnosis = Diagnosis(
        summary=summary, remedy=remedy, reason=reason, exit_code=end.get("exitCode"), log_tail=log_tail(pod) if with_log else ""
    )
    return Observation(status=Status.TERMINATED, diagnosis=diagnosis, node=node_of(pod), report=end["message"] if report else "")


def _without_pod(reason: Reason | None, summary: str, remedy: str, code: int | None = None) -> Observation:
    return Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary=summary, remedy=remedy, reason=reason, exit_code=code))
