"""Ending a Job for certain: deleted, its pod told to end, and both seen gone."""

import math
import time

from gregory.launch.errors import NotEnded
from gregory.launch.kubernetes.labels import CONTROLLER_UID, RUNS
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.pod_facts import Object, has_ended, is_finished, name_of
from gregory.runs.spec import RunHandle

# A node shows the end of a pod for a second before it is gone.
POLL_SECONDS = 0.2
# What a node takes to say that a pod is gone, once the pod's own time is over.
CONFIRMATION_SECONDS = 30.0


def end_job(namespace: Namespace, handle: RunHandle, *, grace_seconds: float) -> Object | None:
    """Return when nothing of it is left that works or could begin: its pod as it was seen after the run's end, if it was.

    What a run has left of its end goes with its pod. A Job that has ended by itself keeps pod and log.
    Raises NotEnded, where its node does not say so in time, and ClusterError.
    """
    job = namespace.job(handle.name)
    if job is not None and _is(job, handle):
        if is_finished(job):
            return None
        namespace.delete("jobs", handle.name, uid=handle.uid)
    # Never no time at all: that removes the pod before its node has ended it.
    grace = max(1, math.ceil(grace_seconds))
    deadline = time.monotonic() + grace + CONFIRMATION_SECONDS
    told: set[str] = set()
    ended: Object | None = None
    while (pods := namespace.pods(f"{RUNS},{CONTROLLER_UID}={handle.uid}").items) or is_there(namespace, handle):
        for pod in pods:
            ended = pod if has_ended(pod) else ended
            # The garbage collector would give it the Job's own grace.
            if pod["metadata"]["uid"] not in told:
                namespace.delete("pods", name_of(pod), uid=pod["metadata"]["uid"], grace_seconds=grace)
                told.add(pod["metadata"]["uid"])
        if time.monotonic() > deadline:
            raise NotEnded(f"Job {handle.name} was deleted, and its pod is still there: its node does not say that it has ended")
        time.sleep(POLL_SECONDS)
    return ended


def is_there(namespace: Namespace, handle: RunHandle) -> bool:
    """Whether exactly this Job is in the namespace, whatever its cluster is called."""
    job = namespace.job(handle.name)
    return job is not None and _is(job, handle)


def _is(job: Object, handle: RunHandle) -> bool:
    return bool(job["metadata"]["uid"] == handle.uid)
