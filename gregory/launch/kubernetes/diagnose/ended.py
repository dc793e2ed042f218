"""How a run on a cluster ended: from its pod while there is one, else from its Job and from what events still tell. Pure."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from gregory.launch.kubernetes.diagnose.pod_status import (
    Events,
    Object,
    condition,
    is_being_deleted,
    log_tail,
    memory_limit,
    name_of,
    node_of,
    report_of,
    terminated,
)
from gregory.launch.kubernetes.manifest import matched_rule
from gregory.launch.runner import Observation, Status
from gregory.runs import exit_codes
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.exit_codes import signal_of
from gregory.runs.reasons import Reason

_EXIT_CODE = re.compile(r"failed with exit code (\d+)")
_POD = re.compile(r"[Pp]od [^\s/]+/(\S+) ")
# What is said of a pod that was deleted while its Job was not.
_WHO = "see who deleted it, if it is not to go on"


class _Cause(NamedTuple):
    reason: Reason
    words: str
    remedy: str


_PREEMPTED = _Cause(
    Reason.PREEMPTED, "preempted: a pod of higher priority got its place", "give runs another priorityClassName, or try again"
)
_EVICTED = _Cause(
    Reason.EVICTED, "evicted through the Eviction API, as kubectl drain and autoscalers do", "try again; see who empties that node"
)
_TAINTED = _Cause(
    Reason.EVICTED, "evicted: its node got a taint, NoExecute, that it does not tolerate", "try again, or tolerate the taint in tolerations"
)
_PRESSED = _Cause(Reason.EVICTED, "evicted: its node ran short", "give runs resources.requests that cover what they use")
_OVER_DISK = _Cause(
    Reason.EVICTED,
    "evicted: it used more disk than it may",
    "raise resources.limits.ephemeral-storage or sharedMemory.size, whichever the message means",
)
_SHUT_DOWN = _Cause(Reason.NODE_LOST, "its node was shut down", "try again")
_GONE = _Cause(Reason.NODE_LOST, "its node is gone from the cluster", "try again; see what became of the node")
_SILENT = _Cause(Reason.NODE_LOST, "its node stopped answering and its pods were taken away", "try again; see what became of the node")
_DEADLINE = _Cause(
    Reason.DEADLINE,
    "it worked longer than its pod may",
    "raise deadlines.runSeconds, or train fewer algorithms at once; resume it to go on",
)
_JOB_DEADLINE = _Cause(
    Reason.DEADLINE, "its Job was there longer than it may be", "raise deadlines.pendingSeconds or deadlines.runSeconds; resume it to go on"
)

# By the reason of a pod's condition DisruptionTarget.
_DISRUPTIONS = {
    "PreemptionByScheduler": _PREEMPTED,
    "EvictionByEvictionAPI": _EVICTED,
    "DeletionByTaintManager": _TAINTED,
    "DeletionByPodGC": _GONE,
    "TerminationByKubelet": _PRESSED,
}
# By the reason of a pod's status: the kubelet's own.
_STATUSES = {
    "Evicted": _PRESSED,
    "DeadlineExceeded": _DEADLINE,
    "Preempting": _PREEMPTED,
    "NodeShutdown": _SHUT_DOWN,
    "Terminated": _SHUT_DOWN,
    "Shutdown": _SHUT_DOWN,
    "NodeLost": _SILENT,
}
# By the events of a pod that is gone, the most telling first.
_TOLD = {"Preempted": _PREEMPTED, "Evicted": _PRESSED, "NodeNotReady": _SILENT, "TaintManagerEviction": _TAINTED}


def wants_events(job: Object | None, pod: Object | None) -> bool:
    """Whether only events know what took it away."""
    if pod is not None:
        return (condition(pod, "DisruptionTarget") or {}).get("reason") == "DeletionByTaintManager"
    return job is not None and matched_rule((condition(job, "Failed") or {}).get("message", "")) == "disrupted"


def of_pod(pod: Object, job: Object | None, events: Events) -> Observation:
    """A pod whose run is over."""
    cause, said = _taken_away(pod, events.of("Pod", name_of(pod)))
    if cause is not None:
        return _dead(pod, cause.reason, f"pod {name_of(pod)}: {cause.words}{said}", cause.remedy)
    deadline = condition(job, "FailureTarget") or condition(job, "Failed") if job else None
    if deadline and deadline.get("reason") == "DeadlineExceeded":
        return _dead(pod, _JOB_DEADLINE.reason, f"pod {name_of(pod)}: {_JOB_DEADLINE.words}", _JOB_DEADLINE.remedy)
    if terminated(pod) is None:
        return _never_ran(pod)
    return _exited(pod, was_deleted=is_being_deleted(pod), with_its_job=job is None or is_being_deleted(job))


def of_job(job: Object, events: Events) -> Observation:
    """A Job that has come to its end and whose pod is gone."""
    name, failed = name_of(job), condition(job, "Failed") or condition(job, "FailureTarget")
    if failed is None:
        return _gone(
            Reason.NO_REPORT, f"Job {name} completed and left no report; its pod is gone", "see the run's log, where it is kept", 0
        )
    reason, message = failed.get("reason", ""), failed.get("message", "")
    rule = matched_rule(message) if reason == "PodFailurePolicy" else None
    found, pod = _EXIT_CODE.search(message), _POD.search(message)
    code = int(found[1]) if found else None
    if reason == "DeadlineExceeded":
        return _gone(_JOB_DEADLINE.reason, f"Job {name}: {_JOB_DEADLINE.words}; its pod was deleted", _JOB_DEADLINE.remedy)
    if rule == "disrupted":
        told = events.of("Pod", pod[1]) if pod else {}
        event, cause = next(((event, cause) for event, cause in _TOLD.items() if event in told), ("", _EVICTED))
        said = f" ({told[event]})" if event else ""
        return _gone(cause.reason, f"pod {pod[1] if pod else 'of Job ' + name}: {cause.words}{said}", cause.remedy)
    if code is not None and (signal := signal_of(code)):
        words = f"pod of Job {name} was ended by signal {signal.value} ({signal.name}) and is gone"
        return _gone(Reason.KILLED, words, "see who ended or deleted it", code)
    if code is not None:
        return _gone(None, f"pod of Job {name} exited with code {code}, left no report and is gone", "", code)
    if reason == "BackoffLimitExceeded":
        return _gone(Reason.INTERRUPTED, f"pod of Job {name} was deleted from outside, and how its run ended was not seen", _WHO)
    return _gone(None, f"Job {name} failed: {reason}: {message}", "")


def _taken_away(pod: Object, told: Mapping[str, str]) -> tuple[_Cause | None, str]:
    """What took the pod from its node, and that in the cluster's words."""
    disruption, status = condition(pod, "DisruptionTarget"), pod.get("status", {})
    by_kubelet = status.get("reason", "")
    if by_kubelet in _STATUSES:
        said = status.get("message", "").strip()
        cause = _OVER_DISK if _STATUSES[by_kubelet] is _PRESSED and "exceeds" in said else _STATUSES[by_kubelet]
        return cause, f" ({said})" if said else ""
    if disruption is None:
        return None, ""
    cause = _DISRUPTIONS.get(disruption.get("reason", ""), _EVICTED)
    if cause is _TAINTED and "NodeNotReady" in told:
        return _SILENT, ""
    return cause, f" ({disruption['message'].strip()})" if disruption.get("message") else ""


def _never_ran(pod: Object) -> Observation:
    status = pod.get("status", {})
    said = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    if is_being_deleted(pod):
        return _dead(pod, Reason.INTERRUPTED, f"pod {name_of(pod)} was deleted from outside before its run began", _WHO)
    for container in status.get("initContainerStatuses") or []:
        end = container.get("state", {}).get("terminated", {})
        if end.get("exitCode"):
            words = f"its init container {container['name']} exited with code {end['exitCode']}: {end.get('message', '').strip()}"
            return _dead(pod, Reason.NOT_STARTED, f"pod {name_of(pod)} never began: {words}", "correct podTemplatePatch")
    # A node may turn down what the scheduler sent it: a GPU has failed meanwhile, or its kubelet has just begun and does not know it yet.
    words = f"pod {name_of(pod)} was turned down by its node {node_of(pod)}: {said or 'it does not say why'}"
    return _dead(pod, Reason.EVICTED, words, "try again; see the node")


def _exited(pod: Object, *, was_deleted: bool, with_its_job: bool) -> Observation:
    end, name, report = terminated(pod) or {}, name_of(pod), report_of(pod)
    code = int(end["exitCode"])
    if end.get("reason") == "OOMKilled":
        limit = memory_limit(pod)
        bound = f"its limit is {limit}" if limit else "its node has no more"
        # One of its processes, and then the run may end with any code.
        words = f"OOMKilled: pod {name} ran out of memory: {bound} (exit code {code})"
        return _dead(pod, Reason.OUT_OF_MEMORY, words, "raise resources.limits.memory in the cluster file, or lower bert.batch_size")
    if end.get("reason") in ("StartError", "ContainerCannotRun"):
        words = f"{end['reason']}: the container of pod {name} could not be started: {end.get('message', '').strip()}"
        return _dead(pod, Reason.REFUSED, words, "see that the image is one of Dockerfile.train, and the patch right", said=False)
    if report and any(algorithm.reason is Reason.NO_GPU for algorithm in report.algorithms):
        words = f"pod {name} was promised a GPU and found none on node {node_of(pod)}"
        return _dead(pod, Reason.NO_GPU, words, "see the node's driver and its device plugin, or set gpu.required to false")
    if with_its_job and signal_of(code):
        # Whatever the run says of its end: who deletes a Job does not want another.
        words = f"the Job of pod {name} was deleted from outside, and it ended with exit code {code}"
        return _dead(pod, Reason.DELETED, words, "see who deleted it; try again")
    if report and (code == exit_codes.SIGTERM or not signal_of(code)):
        return _dead(pod, None, f"pod {name} exited with code {code} and left a report", "")
    if was_deleted and signal_of(code):
        kept = "its run gave up in good order" if code == exit_codes.SIGTERM else "its run did not give up in the time it had"
        return _dead(pod, Reason.INTERRUPTED, f"pod {name} was deleted from outside; {kept}, exit code {code}", _WHO)
    if signal := signal_of(code):
        words = f"pod {name} was ended by signal {signal.value} ({signal.name}), exit code {code}, and not for lack of memory"
        return _dead(pod, Reason.KILLED, words, f"see who sent it on node {node_of(pod)}")
    if code == 0:
        return _dead(pod, Reason.NO_REPORT, f"pod {name} exited with code 0 and left no report", "see its log")
    return _dead(pod, None, f"pod {name} exited with code {code} and left no report", "")


def _dead(pod: Object, reason: Reason | None, words: str, remedy: str, *, said: bool = True) -> Observation:
    end, report = terminated(pod) or {}, report_of(pod)
    diagnosis = Diagnosis(
        summary=words, remedy=remedy, reason=reason, exit_code=end.get("exitCode"), log_tail=log_tail(pod) if said else ""
    )
    return Observation(status=Status.TERMINATED, diagnosis=diagnosis, node=node_of(pod), report=end["message"] if report else "")


def _gone(reason: Reason | None, words: str, remedy: str, code: int | None = None) -> Observation:
    diagnosis = Diagnosis(summary=words, remedy=remedy, reason=reason, exit_code=code)
    return Observation(status=Status.TERMINATED, diagnosis=diagnosis)
