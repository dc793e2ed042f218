"""An imaginary node: Ready, in a zone of its own and closed to pods, while this program renews its lease.

`python -m tools.cluster.peer KUBECONFIG NAME`. If all nodes of all zones are lost, the node controller evicts no pod, because it
assumes a failure of the network. With a healthy peer it evicts the pods of a lost node, as in a real pool.
"""

import contextlib
import sys
import time
from datetime import UTC, datetime
from typing import Any

import urllib3
from kubernetes import client, config

LEASES = "kube-node-lease"
TAINT = "gregory-train/no-kubelet"
RENEWAL = 2.0
# Seconds for one call: the API server can be paused, and renewal must continue as soon as it answers.
TIMEOUT = 2.0


def node(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": name, **labels}},
        "spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]},
    }


def ready(capacity: dict[str, str]) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True", "reason": "Pretended", "message": "", "lastTransitionTime": _now()}
    return {"status": {"capacity": capacity, "allocatable": capacity, "conditions": [{**condition, "lastHeartbeatTime": _now()}]}}


def lease(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"holderIdentity": name, "leaseDurationSeconds": 8, "renewTime": _now()}}


def main(kubeconfig: str, name: str, labels: dict[str, str] | None = None, capacity: dict[str, str] | None = None) -> None:
    config.load_kube_config(kubeconfig)
    # Any: the generated types refuse plain mappings, which the client accepts.
    nodes: Any = client.CoreV1Api()
    leases: Any = client.CoordinationV1Api()
    with contextlib.suppress(client.ApiException):
        # The node exists from an earlier start.
        nodes.delete_node(name)
    nodes.create_node(node(name, labels or {}))
    nodes.patch_node_status(name, ready(capacity or {}))
    leases.create_namespaced_lease(LEASES, lease(name))
    while True:
        with contextlib.suppress(client.ApiException, urllib3.exceptions.HTTPError):
            leases.patch_namespaced_lease(name, LEASES, lease(name), _request_timeout=TIMEOUT)
        time.sleep(RENEWAL)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
