"""A server on loopback that answers as the Kubernetes API of one namespace: pages of Jobs, pods and events, with all their fields.

The objects are made from one Job of the product, for a cluster with few free GPUs: a tenth of the pods run, one in a hundred pulls its
image, and all others wait for a node.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAMESPACE, CLUSTER_ID = "gregory", "5f0c7a52-6d3c-4b3a-9a55-0d2f8b6e7c11"
# In the texts of the first run. Every other run has its own.
RUN_ID, TOKEN = "0" * 12, "f" * 32
_JOB_UID, _POD_UID, _NAME = "a" * 36, "b" * 36, "gregory-train-"
# Runs queued this long ago: no limit of the cluster file has passed.
_AGE = timedelta(seconds=60)


def run_id(number: int) -> str:
    """The id of a run."""
    return f"{number:012x}"


def token(number: int) -> str:
    """The token of its attempt."""
    return f"{number:032x}"


def job_uid(number: int) -> str:
    """The uid of its Job."""
    return f"10000000-0000-4000-8000-{number:012x}"


def runs(number: int) -> bool:
    """Whether the pod of the run works."""
    return number % 10 == 0


def pulls(number: int) -> bool:
    """Whether the pod of the run has a node, which pulls the image."""
    return number % 100 == 1


@dataclass(slots=True)
class Cluster:
    """count: of the runs. job: the Job of the run RUN_ID as the product creates it. calls: the requests by resource."""

    count: int = 0
    job: dict[str, Any] = field(default_factory=dict)
    bytes_sent: int = 0

    def answer(self, path: str, query: dict[str, list[str]]) -> bytes | None:
        """The body for a path. None: there is no such object."""
        last = path.rsplit("/", 1)[1]
        if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:
            return _json({"metadata": {"name": last, "uid": CLUSTER_ID if last == "kube-system" else CLUSTER_ID[::-1]}})
        if "/persistentvolumeclaims/" in path:
            return _json({"metadata": {"name": last}, "status": {"phase": "Bound"}})
        makers: dict[str, Callable[[], Callable[[int], str]]] = {"jobs": self._jobs, "pods": self._pods, "events": self._events}
        if last not in makers:
            return None
        start, limit = int(query.get("continue", ["0"])[0]), int(query.get("limit", ["500"])[0])
        end, make = min(start + limit, self.count), makers[last]()
        metadata = {
            "resourceVersion": "1000",
            **({"continue": str(end), "remainingItemCount": self.count - end} if end < self.count else {}),
        }
        items = ",".join(make(number) for number in range(start, end))
        return b'{"kind":"List","apiVersion":"v1","metadata":%b,"items":[%b]}' % (_json(metadata), items.encode())

    def _jobs(self) -> Callable[[int], str]:
        status = {"active": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}, "startTime": _ago(_AGE)}
        job = _stored(self.job, name=self.job["metadata"]["name"], uid=_JOB_UID) | {"status": status}
        return _instances(json.dumps(job))

    def _pods(self) -> Callable[[int], str]:
        waiting, pulling, running = (_instances(json.dumps(self._pod(state))) for state in ("waiting", "pulling", "running"))
        return lambda number: (running if runs(number) else pulling if pulls(number) else waiting)(number)

    def _events(self) -> Callable[[int], str]:
        return _instances(json.dumps(_event(f"{self.job['metadata']['name']}-abcde")))

    def _pod(self, state: str) -> dict[str, Any]:
        template, name = self.job["spec"]["template"], self.job["metadata"]["name"]
        labels = {"batch.kubernetes.io/controller-uid": _JOB_UID, "batch.kubernetes.io/job-name": name}
        labels |= {"controller-uid": _JOB_UID, "job-name": name}
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": _JOB_UID, "controller": True, "blockOwnerDeletion": True}
        made = {
            "metadata": {
                **template["metadata"],
                "labels": template["metadata"]["labels"] | labels,
                "generateName": f"{name}-",
                "ownerReferences": [owner],
                "finalizers": ["batch.kubernetes.io/job-tracking"],
            },
            "spec": template["spec"] | ({} if state == "waiting" else {"nodeName": "gpu-node-7.example.org"}),
        }
        return _stored(made, name=f"{name}-abcde", uid=_POD_UID) | {"status": _pod_status(template["spec"], state)}


def _stored(thing: dict[str, Any], *, name: str, uid: str) -> dict[str, Any]:
    """The object with the fields that the server adds."""
    fields = {"f:metadata": _fields(thing["metadata"]), "f:spec": _fields(thing["spec"])}
    managed = [{"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields} for manager in ("gregory", "k8s")]
    added = {"name": name, "namespace": NAMESPACE, "uid": uid, "resourceVersion": "1000", "creationTimestamp": _ago(_AGE)}
    return thing | {"metadata": thing["metadata"] | added | {"managedFields": managed}}


def _fields(thing: Any) -> Any:
    """The names of the fields, as the server lists them for each manager."""
    if isinstance(thing, dict):
        return {f"f:{key}": _fields(value) for key, value in thing.items()}
    if isinstance(thing, list) and thing and isinstance(thing[0], dict):
        return {f'k:{{"name":"{one.get("name", number)}"}}': _fields(one) for number, one in enumerate(thing)}
    return {}


def _pod_status(spec: dict[str, Any], state: str) -> dict[str, Any]:
    scheduled: dict[str, str | None] = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": _ago(_AGE)}
    if state == "waiting":
        message = (
            "0/40 nodes are available: 40 Insufficient nvidia.com/gpu. preemption: 0/40 nodes are available: 40 No preemption victims."
        )
        refused = scheduled | {"status": "False", "reason": "Unschedulable", "message": message}
        return {"phase": "Pending", "conditions": [refused], "qosClass": "Burstable"}
    is_running, began = state == "running", {"startedAt": _ago(_AGE / 2)}
    others = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    status: dict[str, str | None] = {"status": "True" if is_running else "False"}
    conditions = [scheduled, *({**scheduled, "type": kind} | status for kind in others)]
    if not is_running:
        conditions[3:] = [one | {"reason": "ContainersNotReady"} for one in conditions[3:]]
    image = {"image": spec["containers"][0]["image"], "imageID": "", "restartCount": 0, "ready": is_running, "started": is_running}
    of_run = {"running": began} if is_running else {"waiting": {"reason": "ContainerCreating"}}
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", **began, "finishedAt": _ago(_AGE / 2), "containerID": "containerd://0"}}
    init = [image | {"name": one["name"], "state": ended} for one in spec.get("initContainers") or []]
    return {
        "phase": "Running" if is_running else "Pending",
        "conditions": conditions,
        "hostIP": "10.0.0.7",
        "podIP": "10.1.0.7",
        "podIPs": [{"ip": "10.1.0.7"}],
        "startTime": _ago(_AGE),
        "containerStatuses": [image | {"name": one["name"], "state": of_run} for one in spec["containers"]],
        "initContainerStatuses": init,
        "qosClass": "Burstable",
    }


def _event(pod: str) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": NAMESPACE, "name": pod, "uid": _POD_UID, "apiVersion": "v1", "resourceVersion": "990"}
    times = {"firstTimestamp": _ago(_AGE), "lastTimestamp": _ago(_AGE), "eventTime": None, "count": 1}
    metadata = {
        "name": f"{pod}.18",
        "namespace": NAMESPACE,
        "uid": _POD_UID,
        "creationTimestamp": _ago(_AGE),
        "managedFields": [_fields(about)],
    }
    told = {"reason": "Pulling", "message": 'Pulling image "gregory.test/nothing:1"', "type": "Normal"}
    source = {"source": {"component": "kubelet", "host": "gpu-node-7.example.org"}, "reportingComponent": "kubelet"}
    return {"metadata": metadata, "involvedObject": about, **told, **times, **source}


def _instances(text: str) -> Callable[[int], str]:
    """The text for any run."""

    def instance(number: int) -> str:
        made = text.replace(RUN_ID, run_id(number)).replace(TOKEN, token(number)).replace(_JOB_UID, job_uid(number))
        return made.replace(_POD_UID, job_uid(number).replace("1", "2", 1))

    return instance


def _ago(time: timedelta) -> str:
    return f"{datetime.now(UTC) - time:%Y-%m-%dT%H:%M:%SZ}"


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """The address of a server for the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            body = cluster.answer(address.path, parse_qs(address.query))
            sent = body if body is not None else _json({"kind": "Status", "status": "Failure", "code": 404, "message": self.path})
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)
            cluster.bytes_sent += len(sent)

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
