"""An imaginary node for any number of runs. A pod on it succeeds after a moment and leaves an outcome report.

`python -m tools.cluster.hollow KUBECONFIG NAME`. No container runs. The report is that of a run in which every algorithm succeeded.
Tests with many Jobs use this node. With real containers they would measure this machine.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from gregory.launch.errors import ClusterError, Refused
from gregory.launch.kubernetes.kube import Api
from gregory.launch.kubernetes.pod_patch import CONTAINER
from gregory.ml.metrics import NAMES
from gregory.runs.spec import AlgorithmOutcome, RunOutcome, RunSpec
from tools.cluster import peer
from tools.cluster.cluster import Cluster
from tools.cluster.daemon import Daemon

LABEL = "gregory.test/hollow"
# Keys of the cluster file that place a run on this node and no other.
PLACEMENT = {
    "nodeSelector": {LABEL: "true"},
    "tolerations": [{"key": peer.TAINT, "operator": "Exists", "effect": "NoSchedule"}],
}
CAPACITY = {"cpu": "10000", "memory": "100Ti", "pods": "100000", "ephemeral-storage": "100Ti"}
METRICS = {**{f"{part}_{name}": 0.5 for part in ("val", "test") for name in NAMES}, "prob_threshold": 0.8}
_STRATEGIC_PATCH = {"Content-Type": "application/strategic-merge-patch+json"}
_SILENCE_SECONDS = 30.0


@contextlib.contextmanager
def node(cluster: Cluster, name: str = "hollow") -> Iterator[None]:
    """The node for the block."""
    argv = [sys.executable, "-m", "tools.cluster.hollow", str(cluster.kubeconfig), name]
    cluster.add(Daemon(name=name, argv=argv, log=cluster.folder / f"{name}.log", ready=lambda: cluster.is_ready(name)))
    try:
        yield
    finally:
        cluster.remove_peer(name)


def main(kubeconfig: str, name: str) -> None:
    api = Api(kubeconfig=kubeconfig, context="", inherited={})
    threading.Thread(target=peer.main, args=(kubeconfig, name), kwargs={"labels": {LABEL: "true"}, "capacity": CAPACITY}).start()
    done: set[str] = set()
    with ThreadPoolExecutor(4) as pool:
        while True:
            # After an error the watch begins again with all pods.
            with contextlib.suppress(ClusterError):
                for pod in _pods(api, name):
                    if pod["metadata"]["uid"] not in done:
                        done.add(pod["metadata"]["uid"])
                        pool.submit(_succeed, api, pod)
            time.sleep(0.2)


def _pods(api: Api, name: str) -> Iterator[dict[str, Any]]:
    """The pods of this node, those that exist first, then each new one."""
    query = {"fieldSelector": f"spec.nodeName={name},status.phase=Pending"}
    listed = api.request("GET", "/api/v1/pods", resource="pods", query=query).body
    yield from listed["items"]
    query |= {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
    for event in api.objects("/api/v1/pods", resource="pods", query=query, silence_seconds=_SILENCE_SECONDS):
        if event["type"] in ("ADDED", "MODIFIED"):
            yield event["object"]


def _succeed(api: Api, pod: dict[str, Any]) -> None:
    metadata = pod["metadata"]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    end = {"exitCode": 0, "reason": "Completed", "message": _report(pod), "startedAt": now, "finishedAt": now}
    container = {"name": CONTAINER, "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": end}}
    status = {"phase": "Succeeded", "startTime": now, "containerStatuses": [container]}
    with contextlib.suppress(Refused):
        # The pod is already gone.
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        api.request("PATCH", path, resource="pods/status", body={"status": status}, headers=_STRATEGIC_PATCH)


def _report(pod: dict[str, Any]) -> str:
    (container,) = pod["spec"]["containers"]
    (value,) = [variable["value"] for variable in container["env"] if variable["name"] == "GREGORY_RUN_SPEC"]
    spec = RunSpec.model_validate_json(value.replace("$$", "$"))
    ends = tuple(AlgorithmOutcome(**dict(algorithm), success=True, metrics=METRICS) for algorithm in spec.algorithms)
    return RunOutcome(run_id=spec.run_id, attempt=spec.attempt, algorithms=ends).model_dump_json(exclude_defaults=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
