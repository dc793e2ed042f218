"""Ending a Job for certain: deleted, its pod told to end, and both seen gone."""

import math
import time

from gregory.launch.errors import ClusterError, TerminationTimeout
from gregory.launch.kubernetes.diagnose.pod_status import Object, has_ended, is_finished, name_of
from gregory.launch.kubernetes.labels import CONTROLLER_UID, RUNS
from gregory.launch.kubernetes.namespace import Namespace
from gregory.runs.spec import RunHandle

# Between two looks at whether the Job itself is still there.
LOOK_SECONDS = 1
# What a node takes to say that a pod is gone, once the pod's own time is over.
CONFIRMATION_SECONDS = 30.0


def terminate_job(namespace: Namespace, handle: RunHandle, *, grace_seconds: float) -> Object | None:
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
    pods = _Pods(namespace, f"{RUNS},{CONTROLLER_UID}={handle.uid}")
    while pods.there or is_there(namespace, handle):
        for uid, pod in pods.there.items():
            # The garbage collector would give it the Job's own grace.
            if uid not in told:
                namespace.delete("pods", name_of(pod), uid=uid, grace_seconds=grace)
                told.add(uid)
        if time.monotonic() > deadline:
            raise TerminationTimeout(f"Job {handle.name} was deleted, and its pod is still there: its node does not say that it has ended")
        pods.follow()
    return pods.ended


class _Pods:
    """Pods of a Job. there: by uid, as they are. ended: one as it was seen after the run's end.

    Followed change by change: a pod may be gone the moment after its node has shown its end.
    """

    def __init__(self, namespace: Namespace, selector: str) -> None:
        self._namespace, self._selector = namespace, selector
        self.ended: Object | None = None
        self.there: dict[str, Object] = {}
        self._version = ""
        self._list()

    def follow(self) -> None:
        """Until they are others, LOOK_SECONDS at most."""
        try:
            for kind, pod in self._namespace.pod_changes(self._selector, since=self._version, seconds=LOOK_SECONDS):
                self._version = pod["metadata"]["resourceVersion"]
                self._note(pod)
                if kind == "DELETED":
                    self.there.pop(pod["metadata"]["uid"], None)
                if kind != "MODIFIED":
                    return
        except ClusterError:
            # What ails it the list says, with more patience; who may only list sees less, and not everything.
            time.sleep(LOOK_SECONDS / 5)
            self._list()

    def _list(self) -> None:
        listed = self._namespace.pods(self._selector)
        self._version = listed.version
        self.there = {}
        for pod in listed.items:
            self._note(pod)

    def _note(self, pod: Object) -> None:
        self.there[pod["metadata"]["uid"]] = pod
        if has_ended(pod):
            self.ended = pod


def is_there(namespace: Namespace, handle: RunHandle) -> bool:
    """Whether exactly this Job is in the namespace, whatever its cluster is called."""
    job = namespace.job(handle.name)
    return job is not None and _is(job, handle)


def _is(job: Object, handle: RunHandle) -> bool:
    return bool(job["metadata"]["uid"] == handle.uid)
