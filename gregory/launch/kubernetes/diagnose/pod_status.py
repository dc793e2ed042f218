"""Read Job, pod and events as the API writes them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from gregory.launch.kubernetes.labels import ATTEMPT, KUEUE_JOB_UID, RUN_ID
from gregory.launch.kubernetes.pod_patch import CONTAINER
from gregory.runs.diagnosis import log_tail_of
from gregory.runs.spec import RunOutcome

Object = Mapping[str, Any]
# Errors at objects that another version of this program or of Kubernetes has made.
NOT_UNDERSTOOD = (LookupError, TypeError, ValueError, AttributeError)
_ENDED = ("Succeeded", "Failed")
_OF_A_CONTAINER, _FIELD_OF_RUN = ("Started", "Killing"), f"spec.containers{{{CONTAINER}}}"
_BEFORE_ALL = "1970-01-01T00:00:00Z"
NO_CLAIMS: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """The newest event of each object and reason, by kind and name of the object. The newest reason comes last.

    times: of these events. deletions: by the name of a Job and of a pod, when the Job deleted the pod.
    of_workloads: the messages of Kueue's Workloads, by the name of the Job. workloads: by the uid of the Job. None: not readable.
    claims: the phase of each claim that is not bound, by name; empty if there is no such claim.
    """

    by_object: Mapping[tuple[str, str], Mapping[str, str]]
    times: Mapping[tuple[str, str], Mapping[str, datetime]] = field(default_factory=dict)
    deletions: Mapping[str, Mapping[str, datetime]] = field(default_factory=dict)
    of_workloads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    workloads: Mapping[str, Object] | None = None
    claims: Mapping[str, str] = field(default_factory=dict)

    def of(self, kind: str, name: str) -> Mapping[str, str]:
        """The messages of the object's events by reason."""
        return self.by_object.get((kind, name), {})


def indexed(events: Sequence[Object], workloads: Sequence[Object] | None = None, claims: Mapping[str, str] = NO_CLAIMS) -> Events:
    """Events of a list in any order, indexed by object. workloads: of Kueue, if they can be read. claims: those that are not bound."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    times: dict[tuple[str, str], dict[str, datetime]] = {}
    deletions: dict[str, dict[str, datetime]] = {}
    of_workloads: dict[str, dict[str, str]] = {}
    for event in sorted(events, key=_event_time):
        about, reason, message = event["involvedObject"], event.get("reason", ""), event.get("message", "").strip()
        # A sidecar also starts, and the kubelet ends it after the run.
        if reason in _OF_A_CONTAINER and about.get("fieldPath", _FIELD_OF_RUN) != _FIELD_OF_RUN:
            continue
        key, time = (about.get("kind", ""), about.get("name", "")), datetime.fromisoformat(_event_time(event))
        messages = found.setdefault(key, {})
        messages.pop(reason, None)
        messages[reason] = message
        times.setdefault(key, {})[reason] = time
        if key[0] == "Job" and reason == "SuccessfulDelete":
            # The name is in the message alone.
            deletions.setdefault(key[1], {})[message.rpartition(" ")[2]] = time
        elif key[0] == "Workload":
            # Kueue names it after its Job: job-NAME-CHECKSUM.
            of_workloads[key[1].removeprefix("job-").rpartition("-")[0]] = messages
    by_job = None if workloads is None else {one["metadata"].get("labels", {}).get(KUEUE_JOB_UID, ""): one for one in workloads}
    return Events(by_object=found, times=times, deletions=deletions, of_workloads=of_workloads, workloads=by_job, claims=claims)


NO_EVENTS = Events(by_object={})


def _event_time(event: Object) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or _BEFORE_ALL)


def name_of(thing: Object) -> str:
    """The name of the object."""
    return str(thing["metadata"]["name"])


def node_of(pod: Object) -> str:
    """The node that has or had the pod. Empty if the scheduler chose none."""
    return str(pod["spec"].get("nodeName", ""))


def claims_of(pod: Object) -> list[str]:
    """The names of the claims that it mounts."""
    volumes = pod["spec"].get("volumes") or []
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if volume.get("persistentVolumeClaim")]


def lacks_a_claim(pod: Object) -> bool:
    """Whether the cluster has not made a ResourceClaim that the pod gets from a template. No scheduler looks at such a pod."""
    made = {status["name"] for status in pod.get("status", {}).get("resourceClaimStatuses") or []}
    claims = pod["spec"].get("resourceClaims") or []
    return any(claim.get("resourceClaimTemplateName") and claim["name"] not in made for claim in claims)


def is_being_deleted(thing: Object) -> bool:
    """Whether its deletion was requested."""
    return "deletionTimestamp" in thing["metadata"]


def condition(thing: Object, kind: str, *, status: str = "True") -> Object | None:
    """Its condition of this kind, if the condition has this status."""
    conditions = thing.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == status), None)


def terminal_condition(job: Object) -> Object | None:
    """The condition of a Job that has ended or is about to end."""
    return next((found for kind in ("Failed", "Complete", "FailureTarget", "SuccessCriteriaMet") if (found := condition(job, kind))), None)


def is_finished(job: Object) -> bool:
    """Whether the Job will start no pod any more."""
    return condition(job, "Failed") is not None or condition(job, "Complete") is not None


def newest(pods: Sequence[Object]) -> Object | None:
    """The newest pod. A Job that was suspended and continued had another before."""
    return max(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], not is_being_deleted(pod)), default=None)


def run_status(pod: Object) -> Object:
    """The status of the run's container. Empty if no node has reported it."""
    return next((status for status in pod.get("status", {}).get("containerStatuses") or [] if status["name"] == CONTAINER), {})


def blocking_init_container(pod: Object) -> Object | None:
    """The status of the init container that keeps the run from its start. None if there is none.

    A node starts init containers one after another. One with the restart policy Always is a sidecar: it lets the next one begin after
    its own start.
    """
    sidecars = {one["name"] for one in pod["spec"].get("initContainers") or [] if one.get("restartPolicy") == "Always"}
    for status in pod.get("status", {}).get("initContainerStatuses") or []:
        state = status.get("state", {})
        lets_pass = status.get("started") and "running" in state if status["name"] in sidecars else has_completed(state)
        if not lets_pass:
            return dict(status)
    return None


def has_completed(state: Object) -> bool:
    """Whether the container of this state exited with code 0."""
    return bool(state.get("terminated", {}).get("exitCode") == 0)


def exit_text(end: Object) -> str:
    """The end of a container for a message: exit code, reason and the end of its log."""
    reason, log = end.get("reason", "Error"), end.get("message", "").strip()
    return f"exited with code {end['exitCode']}" + (f" ({reason})" if reason != "Error" else "") + (f": {log}" if log else "")


def terminated(pod: Object) -> Object | None:
    """The state of the run's container after its end. None before."""
    return end_of(run_status(pod), pod)


def end_of(status: Object, pod: Object) -> Object | None:
    """The state of a container of the pod after its end. None before."""
    found: Object | None = status.get("state", {}).get("terminated")
    if found is None and pod.get("status", {}).get("phase") in _ENDED:
        # A kubelet that lost the container first writes its end here, and fails the pod.
        found = (status.get("lastState") or {}).get("terminated")
    return found


def latest_end(pod: Object) -> datetime | None:
    """The time at which the node has ended the pod at the latest: its deadline and the grace period.

    None if the pod has not started or has no deadline.
    """
    began, allowed = pod.get("status", {}).get("startTime"), pod["spec"].get("activeDeadlineSeconds")
    if not began or allowed is None:
        return None
    return datetime.fromisoformat(began) + timedelta(seconds=allowed + pod["spec"].get("terminationGracePeriodSeconds", 0))


def has_ended(pod: Object) -> bool:
    """Whether the run has ended, even if a sidecar still runs."""
    return terminated(pod) is not None or pod.get("status", {}).get("phase") in _ENDED


def memory_limit(pod: Object) -> str:
    """The memory limit of the run's container, as in the Job. Empty if there is none."""
    run: Iterator[Object] = (container for container in pod["spec"]["containers"] if container["name"] == CONTAINER)
    return str(next(run, {}).get("resources", {}).get("limits", {}).get("memory", ""))


def report_of(pod: Object) -> RunOutcome | None:
    """The outcome report in the termination message. None if there is none, or if it belongs to another attempt."""
    try:
        report = RunOutcome.model_validate_json((terminated(pod) or {}).get("message", ""))
    except ValidationError:
        return None
    labels = pod["metadata"].get("labels", {})
    return report if (report.run_id, str(report.attempt)) == (labels.get(RUN_ID), labels.get(ATTEMPT)) else None


def log_tail(pod: Object) -> str:
    """The end of the log. The kubelet keeps it for a container that fails without a termination message."""
    return log_tail_of(str((terminated(pod) or {}).get("message", ""))) if report_of(pod) is None else ""
