"""Find what Kueue 0.17 says about a suspended Job: why it waits, and whether Kueue has given it up. Pure.

Conditions of the Workload say it best, and reading them needs a permission of its own. Events of the Workload say most of it.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from gregory.launch.kubernetes.diagnose.pod_status import Events, Object, condition, name_of
from gregory.launch.kubernetes.labels import KUEUE_PRIORITY, KUEUE_QUEUE
from gregory.runs.reasons import Reason

# Kueue sets a Workload to inactive for a cause of its own, and never admits it again. By hand there is no cause.
_GIVEN_UP, _BY_HAND = "DeactivatedDueTo", "Deactivated"
_EVENT_OF_EVICTION = "EvictedDueTo"
_ENDS = {
    "MaximumExecutionTimeExceeded": (
        Reason.DEADLINE,
        "raise the label kueue.x-k8s.io/max-exec-time-seconds in labels of the cluster file; then resume the run",
    ),
    "RequeuingLimitExceeded": (
        Reason.NOT_STARTED,
        "find out why its pods were not ready in time: image, node or volume; or raise waitForPodsReady of Kueue",
    ),
}
_OTHER_END = (Reason.REFUSED, "read the events of its Workload, and correct the queue or the cluster file")
# Kueue makes the Workload of a Job within this time.
_WORKLOAD = timedelta(seconds=30)


class Queued(NamedTuple):
    """What Kueue says. text: in Kueue's words. end: the reason with which the run ends now. None: it waits on."""

    text: str = ""
    remedy: str = ""
    end: Reason | None = None


def is_queued(job: Object) -> bool:
    """Whether Kueue decides on the start of this Job."""
    return bool(job["spec"].get("suspend")) and bool(queue_of(job))


def queue_of(job: Object) -> str:
    """Its LocalQueue. Empty if it has none."""
    return str(job["metadata"].get("labels", {}).get(KUEUE_QUEUE, ""))


def queued(job: Object, events: Events, *, now: datetime) -> Queued:
    """What Kueue says about a suspended Job of a queue."""
    if events.workloads is None:
        return _from_events(job, events)
    workload = events.workloads.get(job["metadata"].get("uid", ""))
    return _without_workload(job, now=now) if workload is None else _from_workload(workload)


def _from_workload(workload: Object) -> Queued:
    evicted = condition(workload, "Evicted") or {}
    if workload["spec"].get("active") is False:
        return _inactive(evicted.get("reason", _BY_HAND), evicted.get("message", ""))
    # False: it got no quota. Its message is newer than that of an earlier eviction.
    pending = condition(workload, "QuotaReserved", status="False") or evicted
    return Queued(text=pending.get("message", ""))


def _from_events(job: Object, events: Events) -> Queued:
    """The newest event of the Workload. A cluster keeps events for an hour by default."""
    messages = events.of_workloads.get(name_of(job))
    if not messages:
        return Queued()
    newest, message = list(messages.items())[-1]
    reason = newest.removeprefix(_EVENT_OF_EVICTION)
    return _inactive(reason, message) if reason.startswith(_BY_HAND) else Queued(text=message)


def _inactive(reason: str, message: str) -> Queued:
    if not reason.startswith(_GIVEN_UP):
        return Queued(text=message or "its Workload is inactive", remedy="set spec.active of its Workload to true")
    end, remedy = _ENDS.get(reason.removeprefix(_GIVEN_UP), _OTHER_END)
    return Queued(text=message, remedy=remedy, end=end)


def _without_workload(job: Object, *, now: datetime) -> Queued:
    """Kueue makes no Workload for a priority class that does not exist, and says so only in its own log."""
    suspended = condition(job, "Suspended") or {}
    since = datetime.fromisoformat(suspended.get("lastTransitionTime") or job["metadata"]["creationTimestamp"])
    if now - since < _WORKLOAD:
        return Queued()
    priority = job["metadata"]["labels"].get(KUEUE_PRIORITY, "")
    remedy = f"check that the WorkloadPriorityClass {priority} exists, and " if priority else "check "
    return Queued(text="Kueue has made no Workload for it", remedy=f"{remedy}that Kueue's manager runs and manages batch/job")


def earlier_starts(job: Object, pod: Object, events: Events) -> timedelta:
    """The time that earlier pods of the Job spent on a node without a start of the run.

    With waitForPodsReady, Kueue removes a pod that is not ready in time and admits the Job again. Each pod alone looks young.
    """
    spent = timedelta()
    for name, deleted in events.deletions.get(name_of(job), {}).items():
        times = events.times.get(("Pod", name), {})
        if name != name_of(pod) and "Scheduled" in times and "Started" not in times:
            spent += max(deleted - times["Scheduled"], timedelta())
    return spent
