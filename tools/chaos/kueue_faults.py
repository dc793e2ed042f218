"""Disturbances of Kueue: its manager with the webhooks, the queue, and the Workload of a run.

Each yields whether it had an effect. Kueue works again after each.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tools.chaos import queues
from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.cluster_faults import answered
from tools.chaos.schedule import Disturbance, Target
from tools.cluster import kueue
from tools.cluster.cluster import Cluster

# A disturbance waits so long for its effect, and for a manager on a node that may be away itself.
EFFECT_SECONDS, MANAGER_SECONDS = 25.0, 600.0
_MANAGER = ("--namespace", kueue.NAMESPACE)


@contextmanager
def applied(env: ChaosEnv, disturbance: Disturbance, stop: threading.Event) -> Iterator[bool]:
    match disturbance.target:
        case Target.KUEUE_RESTARTED:
            context = _restarted(env.cluster)
        case Target.KUEUE_AWAY:
            context = _away(env.cluster, stop)
        case Target.QUEUE_DRAINED:
            context = _drained(env, stop)
        case _:
            context = _workload_deleted(env, disturbance.which, stop)
    with context as found:
        yield found


@contextmanager
def _restarted(cluster: Cluster) -> Iterator[bool]:
    """The pod of the manager is deleted. Its Deployment makes another, and until then no webhook answers."""
    was_ready = bool(_ready(cluster))
    answered(cluster, "delete", "pods", *_MANAGER, "--all", "--wait=false")
    try:
        yield was_ready
    finally:
        _wait_for_manager(cluster)


@contextmanager
def _away(cluster: Cluster, stop: threading.Event) -> Iterator[bool]:
    """No manager runs, and no webhook answers: the API server accepts no Job and no end of a pod."""
    was_ready = bool(_ready(cluster))
    _scale(cluster, 0)
    try:
        yield _within(lambda: _ready(cluster) == [], stop) and was_ready
    finally:
        _scale(cluster, 1)
        _wait_for_manager(cluster)


@contextmanager
def _drained(env: ChaosEnv, stop: threading.Event) -> Iterator[bool]:
    """Kueue admits no run, and stops those that work."""
    began = int(time.time())
    _set_policy(env.cluster, "HoldAndDrain")
    try:
        yield _within(lambda: any(queues.evicted_at(one, queues.DRAINED) >= began for one in _workloads(env)), stop)
    finally:
        _set_policy(env.cluster, "None")


@contextmanager
def _workload_deleted(env: ChaosEnv, which: int, stop: threading.Event) -> Iterator[bool]:
    """The Workload of a run that works is deleted. Kueue stops the run, and makes another Workload."""
    admitted = sorted((one["metadata"]["name"], one["metadata"]["uid"]) for one in _workloads(env) if queues.is_admitted(one))
    if not admitted:
        yield False
        return
    name, uid = admitted[which % len(admitted)]
    answered(env.cluster, "delete", "workload", name, "--namespace", env.cluster_namespace.namespace, "--wait=false", "--ignore-not-found")
    yield _within(lambda: (found := _workloads(env)) and all(one["metadata"]["uid"] != uid for one in found), stop)


def _workloads(env: ChaosEnv) -> list[dict[str, Any]]:
    return queues.workloads(env.cluster, env.cluster_namespace.namespace)


def _set_policy(cluster: Cluster, policy: str) -> None:
    """Kueue's webhook takes part, so this waits for the manager."""
    patch = json.dumps({"spec": {"stopPolicy": policy}})
    answered(cluster, "patch", "clusterqueue", queues.QUEUE, "--type=merge", "--patch", patch, seconds=MANAGER_SECONDS)


def _scale(cluster: Cluster, replicas: int) -> None:
    answered(cluster, "scale", f"deployment/{kueue.MANAGER}", *_MANAGER, f"--replicas={replicas}")


def _ready(cluster: Cluster) -> list[str] | None:
    """The names of the pods whose webhooks answer. None: the API server does not answer."""
    found = cluster.kubectl("get", "pods", *_MANAGER, "--output=json", timeout=10)
    if found.returncode != 0:
        return None
    pods = json.loads(found.stdout)["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"] and _is_ready(pod)]


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", []))


def _wait_for_manager(cluster: Cluster) -> None:
    cluster.until(lambda: _ready(cluster), what="the manager of Kueue", seconds=MANAGER_SECONDS)


def _within(seen: Callable[[], object], stop: threading.Event) -> bool:
    """Whether this is seen in time."""
    deadline = time.monotonic() + EFFECT_SECONDS
    while time.monotonic() < deadline:
        if seen():
            return True
        if stop.wait(0.5):
            return bool(seen())
    return False
