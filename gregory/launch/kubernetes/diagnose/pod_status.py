"""What a Job, its pods and their events say, as the API writes them: the questions that a diagnosis asks. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from gregory.launch.kubernetes.labels import ATTEMPT, RUN_ID
from gregory.launch.kubernetes.pod_patch import CONTAINER
from gregory.runs.diagnosis import log_tail_of
from gregory.runs.spec import RunOutcome

Object = Mapping[str, Any]
_BEFORE_ALL = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Events of a namespace, the newest of each object and reason, by the object's kind and name."""

    by_object: Mapping[tuple[str, str], Mapping[str, str]]

    def of(self, kind: str, name: str) -> Mapping[str, str]:
        """Reason -> message."""
        return self.by_object.get((kind, name), {})


def indexed(events: Sequence[Object]) -> Events:
    """Events as listed, in no order, to be asked by object."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for event in sorted(events, key=_told):
        about = event["involvedObject"]
        found.setdefault((about.get("kind", ""), about.get("name", "")), {})[event.get("reason", "")] = event.get("message", "").strip()
    return Events(by_object=found)


NO_EVENTS = Events(by_object={})


def _told(event: Object) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or _BEFORE_ALL)


def parse_time(stamp: str) -> datetime:
    """A time of the API, always in UTC."""
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def name_of(thing: Object) -> str:
    """Its name."""
    return str(thing["metadata"]["name"])


def node_of(pod: Object) -> str:
    """The node that has or had it; empty where none took it."""
    return str(pod["spec"].get("nodeName", ""))


def is_being_deleted(thing: Object) -> bool:
    """Whether somebody asked for its end."""
    return "deletionTimestamp" in thing["metadata"]


def condition(thing: Object, kind: str, *, status: str = "True") -> Object | None:
    """Its condition of that kind, if that is the condition's status."""
    conditions = thing.get("status", {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == status), None)


def terminal_condition(job: Object) -> Object | None:
    """The condition that says that the Job has come to its end, or is about to."""
    return next((found for kind in ("Failed", "Complete", "FailureTarget", "SuccessCriteriaMet") if (found := condition(job, kind))), None)


def is_finished(job: Object) -> bool:
    """Whether nothing of the Job will start any more."""
    return condition(job, "Failed") is not None or condition(job, "Complete") is not None


def newest(pods: Sequence[Object]) -> Object | None:
    """The pod that counts: a Job that was suspended and resumed had another before."""
    return max(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], not is_being_deleted(pod)), default=None)


def run_status(pod: Object) -> Object:
    """The status of the run's own container; empty where no node has looked at it."""
    return next((status for status in pod.get("status", {}).get("containerStatuses") or [] if status["name"] == CONTAINER), {})


def terminated(pod: Object) -> Object | None:
    """How the run's container ended."""
    found: Object | None = run_status(pod).get("state", {}).get("terminated")
    return found


def latest_end(pod: Object) -> datetime | None:
    """When its node has ended it at the latest, by its own deadline and the grace after that; None where it has not begun or has none."""
    began, allowed = pod.get("status", {}).get("startTime"), pod["spec"].get("activeDeadlineSeconds")
    if not began or allowed is None:
        return None
    return parse_time(began) + timedelta(seconds=allowed + pod["spec"].get("terminationGracePeriodSeconds", 0))


def has_ended(pod: Object) -> bool:
    """Whether the run is over, even where a container beside it lives on."""
    return terminated(pod) is not None or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def memory_limit(pod: Object) -> str:
    """The limit of the run's container as the Job has it; empty where it has none."""
    run: Iterator[Object] = (container for container in pod["spec"]["containers"] if container["name"] == CONTAINER)
    return str(next(run).get("resources", {}).get("limits", {}).get("memory", ""))


def report_of(pod: Object) -> RunOutcome | None:
    """What the run itself left of its end as its termination message."""
    try:
        report = RunOutcome.model_validate_json((terminated(pod) or {}).get("message", ""))
    except ValidationError:
        return None
    labels = pod["metadata"].get("labels", {})
    return report if (report.run_id, str(report.attempt)) == (labels.get(RUN_ID), labels.get(ATTEMPT)) else None


def log_tail(pod: Object) -> str:
    """The end of the log. The kubelet keeps it for a container that fails without a termination message."""
    return log_tail_of(str((terminated(pod) or {}).get("message", ""))) if report_of(pod) is None else ""
