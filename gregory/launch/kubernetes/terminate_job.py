"""Delete a Job and its pod, and wait until both are gone."""

import math
import time

from gregory.launch.errors import ClusterError, TerminationTimeout
from gregory.launch.kubernetes.diagnose.pod_status import Object, has_ended, is_finished, name_of
from gregory.launch.kubernetes.labels import CONTROLLER_UID, RUNS
from gregory.launch.kubernetes.namespace import Namespace
from gregory.runs.spec import RunHandle

# Pause between two requests for the Job.
POLL_SECONDS = 1
# A node needs this time to confirm the end of a pod after the grace period.
CONFIRMATION_SECONDS = 30.0


def terminate_job(namespace: Namespace, handle: RunHandle, *, grace_seconds: float) -> Object | None:
    """Delete the Job, and return when no pod of it works or can start.

    Returns the pod as it was observed after the end of its container, or None. The pod holds the outcome report, and its deletion
    removes it. A finished Job is not deleted, so its pod and log remain.
    Raises TerminationTimeout if the node does not confirm the end in time, and ClusterError.
    """
    job = namespace.job(handle.name)
    if job is not None and _is(job, handle):
        if is_finished(job):
            return None
        namespace.delete("jobs", handle.name, uid=handle.uid)
    # A grace period of 0 would remove the pod before its node has ended it.
    grace = max(1, math.ceil(grace_seconds))
    deadline = time.monotonic() + grace + CONFIRMATION_SECONDS
    deleted: set[str] = set()
    pods = _Pods(namespace, f"{RUNS},{CONTROLLER_UID}={handle.uid}")
    while pods.present or job_exists(namespace, handle):
        for uid, pod in pods.present.items():
            # The garbage collector would use the grace period of the Job.
            if uid not in deleted:
                namespace.delete("pods", name_of(pod), uid=uid, grace_seconds=grace)
                deleted.add(uid)
        if time.monotonic() > deadline:
            raise TerminationTimeout(f"Job {handle.name} was deleted, but its node does not confirm that its pod has ended")
        pods.follow()
    return pods.ended


class _Pods:
    """The pods of a Job. present: existing pods by uid. ended: a pod as it was observed after the end of its container.

    A watch delivers every change, because a pod may disappear right after its node has reported its end.
    """

    def __init__(self, namespace: Namespace, selector: str) -> None:
        self._namespace, self._selector = namespace, selector
        self.ended: Object | None = None
        self.present: dict[str, Object] = {}
        self._version = ""
        self._list()

    def follow(self) -> None:
        """Process changes until a pod appears or disappears, for at most POLL_SECONDS."""
        try:
            for kind, pod in self._namespace.pod_changes(self._selector, since=self._version, seconds=POLL_SECONDS):
                self._version = pod["metadata"]["resourceVersion"]
                self._note(pod)
                if kind == "DELETED":
                    self.present.pop(pod["metadata"]["uid"], None)
                if kind != "MODIFIED":
                    return
        except ClusterError:
            # The list repeats its request and raises a lasting error. An account without permission to watch misses some changes.
            time.sleep(POLL_SECONDS / 5)
            self._list()

    def _list(self) -> None:
        listed = self._namespace.pods(self._selector)
        self._version = listed.version
        self.present = {}
        for pod in listed.items:
            self._note(pod)

    def _note(self, pod: Object) -> None:
        self.present[pod["metadata"]["uid"]] = pod
        if has_ended(pod):
            self.ended = pod


def job_exists(namespace: Namespace, handle: RunHandle) -> bool:
    """Whether exactly this Job is in the namespace. The uid identifies it, so the id of the cluster plays no part."""
    job = namespace.job(handle.name)
    return job is not None and _is(job, handle)


def _is(job: Object, handle: RunHandle) -> bool:
    return bool(job["metadata"]["uid"] == handle.uid)
