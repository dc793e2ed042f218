"""Kueue's queue of all runs: a small quota, two priorities, and the right to read Workloads."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tools.chaos.accounts import ACCOUNT
from tools.chaos.audit import NAME
from tools.cluster.cluster import Cluster

QUEUE, FLAVOR, ROLE = "chaos", "chaos", "gregory-chaos-queues"
ORDINARY, URGENT = "ordinary", "urgent"
_PRIORITIES = {ORDINARY: 10, URGENT: 1000}
_API = "kueue.x-k8s.io/v1beta2"
# Only processors are scarce.
_ENOUGH = {"memory": "100Gi", "ephemeral-storage": "1Ti"}
PREEMPTED, DRAINED = "EvictedDueToPreempted", "ClusterQueueStopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """Kueue took the quota of a run for a more urgent one. at: seconds since 1970."""

    run_id: str
    at: float


def create(cluster: Cluster, namespace: str, *, milli: int) -> None:
    """Create the queue. milli: its processors, in thousandths."""
    quota = {"cpu": f"{milli}m", **_ENOUGH}
    resources = [{"name": name, "nominalQuota": amount} for name, amount in quota.items()]
    group = {"coveredResources": list(quota), "flavors": [{"name": FLAVOR, "resources": resources}]}
    preemption = {"withinClusterQueue": "LowerPriority"}
    rule = {"apiGroups": ["kueue.x-k8s.io"], "resources": ["workloads", "localqueues"], "verbs": ["get", "list"]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ROLE}
    rights = "rbac.authorization.k8s.io/v1"
    cluster.apply(
        _object("ResourceFlavor", FLAVOR, spec={}),
        *(_object("WorkloadPriorityClass", name, value=value) for name, value in _PRIORITIES.items()),
        _object("ClusterQueue", QUEUE, spec={"namespaceSelector": {}, "resourceGroups": [group], "preemption": preemption}),
        _object("LocalQueue", QUEUE, namespace, spec={"clusterQueue": QUEUE}),
        # As the chart's preset of Kueue.
        _object("Role", ROLE, namespace, api=rights, rules=[rule]),
        _object("RoleBinding", ROLE, namespace, api=rights, roleRef=reference, subjects=[{"kind": "ServiceAccount", "name": ACCOUNT}]),
    )


def section(priority: str) -> dict[str, Any]:
    """The part `kueue` of a cluster file."""
    return {"queueName": QUEUE, "priorityClass": priority, "readWorkloads": True}


def priority_of(team: str) -> str:
    """Every second batch of runs is urgent."""
    return URGENT if int(team.rpartition("-")[2]) % 2 else ORDINARY


def workloads(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    """Those of the namespace. Empty if nothing answers."""
    found = cluster.kubectl("get", "workloads", "--namespace", namespace, "--output=json", timeout=10)
    return list(json.loads(found.stdout)["items"]) if found.returncode == 0 else []


def is_admitted(workload: dict[str, Any]) -> bool:
    """Whether its run may work, and has not ended."""
    true = {one["type"] for one in workload.get("status", {}).get("conditions", []) if one["status"] == "True"}
    return "Admitted" in true and not true & {"Finished", "Evicted"} and "deletionTimestamp" not in workload["metadata"]


def evicted_at(workload: dict[str, Any], reason: str) -> float:
    """The time of its last eviction, if that was for this reason, in seconds since 1970. Else 0."""
    for one in workload.get("status", {}).get("conditions", []):
        if (one["type"], one["status"], one["reason"]) == ("Evicted", "True", reason):
            return datetime.fromisoformat(one["lastTransitionTime"]).timestamp()
    return 0.0


def preemptions(cluster: Cluster, namespace: str) -> list[Preemption]:
    """The preemptions that the events of Workloads have. A server that was killed may have lost some."""
    command = ("get", "events", "--namespace", namespace, "--field-selector", f"reason={PREEMPTED}", "--output=json")
    done = cluster.until(
        lambda: found if (found := cluster.kubectl(*command, timeout=20)).returncode == 0 else None, what="the events of Kueue"
    )
    return [found for event in json.loads(done.stdout)["items"] if (found := preemption_of(event)) is not None]


def preemption_of(event: dict[str, Any]) -> Preemption | None:
    """The preemption of a run that this event of a Workload tells."""
    named = NAME.match(event["involvedObject"]["name"].removeprefix("job-"))
    time = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    if named is None or not time:
        return None
    return Preemption(run_id=named["run_id"], at=datetime.fromisoformat(time).timestamp())


def reserved(cluster: Cluster) -> int:
    """The number of Workloads that have quota."""
    return int(cluster.get("clusterqueue", QUEUE).get("status", {}).get("reservingWorkloads", 0))


def _object(kind: str, name: str, namespace: str = "", *, api: str = _API, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}
