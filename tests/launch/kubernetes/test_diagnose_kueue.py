"""Diagnoses of Jobs that wait for Kueue. Reasons and messages are those of Kueue 0.17.0's source."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gregory.launch.kubernetes.cluster_sections import Deadlines
from gregory.launch.kubernetes.diagnose.job import observe_job, wants_events
from gregory.launch.kubernetes.diagnose.pod_status import NO_EVENTS, Events, indexed
from gregory.launch.kubernetes.labels import KUEUE_JOB_UID, KUEUE_PRIORITY, KUEUE_QUEUE
from gregory.launch.runner import Observation, Status
from gregory.runs.reasons import Reason

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
JOB, UID, POD = "gregory-train-0123456789ab-a1", "11111111-0000-0000-0000-000000000000", "gregory-train-0123456789ab-a1-abcde"
WORKLOAD = f"job-{JOB}-1a2b3"
WAITS = "queued: waits for Kueue's queue gpus"
TIMED_OUT = "The workload is deactivated due to exceeding the maximum execution time"
NO_QUOTA = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor default, 1 more needed"


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def job(*, suspend: bool = True, seconds: float = 100, priority: str = "") -> dict[str, Any]:
    """The Job of a queue. Its suspension began or ended so many seconds ago."""
    condition = {"type": "Suspended", "status": str(suspend), "lastTransitionTime": ago(seconds)}
    labels = {KUEUE_QUEUE: "gpus", **({KUEUE_PRIORITY: priority} if priority else {})}
    metadata = {"name": JOB, "uid": UID, "creationTimestamp": ago(9999), "labels": labels}
    return {"metadata": metadata, "spec": {"suspend": suspend}, "status": {"conditions": [condition]}}


def workload(*conditions: tuple[str, str, str, str], active: bool = True) -> dict[str, Any]:
    """conditions: kind, status, reason and message."""
    listed = [dict(zip(("type", "status", "reason", "message"), one, strict=True)) for one in conditions]
    return {"metadata": {"labels": {KUEUE_JOB_UID: UID}}, "spec": {"active": active}, "status": {"conditions": listed}}


def event(kind: str, name: str, reason: str, message: str, *, seconds: float) -> dict[str, Any]:
    return {"involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": message, "lastTimestamp": ago(seconds)}


def observed(one: dict[str, Any], events: Events, *pods: dict[str, Any], **deadlines: int) -> Observation:
    return observe_job(one, pods, events, name=JOB, now=NOW, deadlines=Deadlines.model_validate(deadlines))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (workload(("QuotaReserved", "False", "Pending", NO_QUOTA)), NO_QUOTA),
        (workload(("QuotaReserved", "False", "Inadmissible", "LocalQueue gpus doesn't exist")), "LocalQueue gpus doesn't exist"),
        (workload(("QuotaReserved", "False", "Inadmissible", "ClusterQueue all doesn't exist")), "ClusterQueue all doesn't exist"),
        (
            # Its quota is newer than the eviction.
            workload(
                ("Evicted", "True", "Preempted", "Preempted to accommodate a workload"), ("QuotaReserved", "False", "Pending", NO_QUOTA)
            ),
            NO_QUOTA,
        ),
        (workload(("Evicted", "True", "ClusterQueueStopped", "The ClusterQueue is stopped")), "The ClusterQueue is stopped"),
    ],
)
def test_a_condition_of_the_workload_is_the_cause(found: dict[str, Any], message: str):
    seen = observed(job(), indexed([], [found]))

    assert (seen.status, seen.reason, seen.text) == (Status.PENDING, None, f"{WAITS}: {message}")


def test_without_the_permission_the_newest_event_of_the_workload_is_the_cause():
    events = [
        event("Workload", WORKLOAD, "Pending", NO_QUOTA, seconds=5),
        event("Workload", WORKLOAD, "EvictedDueToPreempted", "Preempted to accommodate a workload", seconds=20),
        event("Workload", "job-another-00000", "Pending", "of another Job", seconds=1),
    ]

    assert observed(job(), indexed(events)).text == f"{WAITS}: {NO_QUOTA}"
    assert observed(job(), indexed(events[1:])).text == f"{WAITS}: Preempted to accommodate a workload"
    assert observed(job(), NO_EVENTS).text == WAITS


@pytest.mark.parametrize(
    ("cause", "reason", "remedy"),
    [
        ("MaximumExecutionTimeExceeded", Reason.DEADLINE, "raise the label kueue.x-k8s.io/max-exec-time-seconds"),
        ("RequeuingLimitExceeded", Reason.NOT_STARTED, "find out why its pods were not ready in time"),
        ("AdmissionCheck", Reason.REFUSED, "read the events of its Workload"),
    ],
)
@pytest.mark.parametrize("readable", [True, False])
def test_a_run_that_kueue_gave_up_ends_with_its_words(cause: str, reason: Reason, remedy: str, readable: bool):
    inactive = workload(("Evicted", "True", f"DeactivatedDueTo{cause}", TIMED_OUT), active=False)
    events = [event("Workload", WORKLOAD, f"EvictedDueToDeactivatedDueTo{cause}", TIMED_OUT, seconds=5)]

    seen = observed(job(), indexed([], [inactive]) if readable else indexed(events))

    assert (seen.status, seen.reason, seen.detail) == (Status.PENDING, reason, f"{WAITS}: {TIMED_OUT}")
    assert seen.text.startswith(f"Kueue will not start Job {JOB} again: {TIMED_OUT}; {remedy}")


@pytest.mark.parametrize("readable", [True, False])
def test_a_workload_that_an_operator_stopped_waits_on(readable: bool):
    message = "The workload is deactivated"
    inactive = workload(("Evicted", "True", "Deactivated", message), active=False)
    events = [event("Workload", WORKLOAD, "EvictedDueToDeactivated", message, seconds=5)]

    seen = observed(job(), indexed([], [inactive]) if readable else indexed(events))

    assert (seen.status, seen.reason, seen.text) == (Status.PENDING, None, f"{WAITS}: {message}")


def test_a_workload_that_is_active_again_has_the_newer_cause():
    events = [
        event("Workload", WORKLOAD, "EvictedDueToDeactivatedDueToMaximumExecutionTimeExceeded", TIMED_OUT, seconds=50),
        event("Workload", WORKLOAD, "Pending", NO_QUOTA, seconds=5),
    ]

    assert observed(job(), indexed(events)).text == f"{WAITS}: {NO_QUOTA}"


@pytest.mark.parametrize(
    ("priority", "remedy"),
    [
        ("high", "check that the WorkloadPriorityClass high exists, and that Kueue's manager runs and manages batch/job"),
        ("", "check that Kueue's manager runs and manages batch/job"),
    ],
)
def test_a_job_without_a_workload_names_its_priority_class(priority: str, remedy: str):
    waits = f"{WAITS}: Kueue has made no Workload for it"

    assert observed(job(priority=priority), indexed([], [])).text == waits
    assert observed(job(priority=priority, seconds=5), indexed([], [])).text == WAITS
    late = observed(job(priority=priority), indexed([], []), queueSeconds=60)
    assert (late.reason, late.text) == (Reason.UNSCHEDULABLE, f"{waits}; for 100 s, and deadlines.queueSeconds is 60; {remedy}")


def pulling(*, seconds: float) -> dict[str, Any]:
    """A pod that got its node so many seconds ago, and cannot pull its image."""
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(seconds)}
    waiting = {"name": "run", "image": "the/image:1", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}
    status = {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [waiting]}
    metadata = {"name": POD, "creationTimestamp": ago(seconds)}
    return {"metadata": metadata, "spec": {"nodeName": "node-1", "containers": []}, "status": status}


def earlier(name: str, *, scheduled: float, deleted: float, started: bool = False, owner: str = JOB) -> Sequence[dict[str, Any]]:
    return [
        event("Pod", name, "Scheduled", "Successfully assigned", seconds=scheduled),
        event("Job", owner, "SuccessfulDelete", f"Deleted pod: {name}", seconds=deleted),
        *([event("Pod", name, "Started", "Started container run", seconds=scheduled - 1)] if started else []),
    ]


def test_an_image_pull_counts_over_admissions():
    """With waitForPodsReady, Kueue takes the quota back before the deadline and admits the Job again."""
    admitted, pod = job(suspend=False, seconds=40), pulling(seconds=40)
    events = indexed([*earlier(f"{JOB}-first", scheduled=400, deleted=340), *earlier(f"{JOB}-later", scheduled=200, deleted=150)])

    assert wants_events(admitted, [pod])
    alone = observed(admitted, NO_EVENTS, pod, imagePullSeconds=120)
    assert (alone.status, alone.reason) == (Status.PENDING, None)
    together = observed(admitted, events, pod, imagePullSeconds=120)
    assert (together.status, together.reason) == (Status.PENDING, Reason.IMAGE_PULL)
    assert together.text.startswith("ImagePullBackOff: no such tag; for 150 s, and deadlines.imagePullSeconds is 120;")


def test_an_earlier_pod_that_worked_does_not_count():
    events = indexed(
        [
            *earlier(f"{JOB}-first", scheduled=4000, deleted=60, started=True),
            *earlier("another-a1-x", scheduled=900, deleted=1, owner="another-a1"),
        ]
    )

    assert observed(job(suspend=False, seconds=40), events, pulling(seconds=40), imagePullSeconds=120).reason is None
