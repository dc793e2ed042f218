"""A driver of imaginary devices for dynamic resource allocation (DRA). The kubelet asks it to prepare each claim of a pod.

`python -m tools.cluster.devices gpu.gregory.test FOLDER`. FOLDER is that of the kubelet. The devices are objects: `objects`. There is no
device file. It prints each claim that it prepares. The messages are encoded by hand, as in `gpu`.
"""

import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from tools.cluster import binaries
from tools.cluster.gpu import fields_of, message_field

DRIVER = "gpu.gregory.test"
# No kubelet knows this driver: it is not installed on the node.
NOT_INSTALLED = "absent.gregory.test"
# Kubernetes 1.36 and later offer the devices of the class as this resource, too. Earlier versions drop the field.
EXTENDED = f"{DRIVER}/any"
REGISTERED = "registered"
_API, _SERVICE = "resource.k8s.io/v1", "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"


def are_allocated() -> bool:
    """Whether this version of Kubernetes has the API of devices."""
    return binaries.minor() >= 34


def are_extended_resources() -> bool:
    """Whether a pod gets a device of the class for a request of EXTENDED."""
    return binaries.minor() >= 36


def objects() -> list[dict[str, Any]]:
    """A DeviceClass for each of the two drivers, and their devices, which every node offers. Empty without their API."""
    if not are_allocated():
        return []
    return [one for driver in (DRIVER, NOT_INSTALLED) for one in (_device_class(driver), _slice(driver))]


def template(name: str, device_class: str, condition: str, *, namespace: str) -> dict[str, Any]:
    """A ResourceClaimTemplate for one device of the class that meets the condition."""
    exactly = {"deviceClassName": device_class, "selectors": [{"cel": {"expression": condition}}]}
    spec = {"spec": {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}}
    return {"apiVersion": _API, "kind": "ResourceClaimTemplate", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _device_class(driver: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"selectors": [{"cel": {"expression": f"device.driver == '{driver}'"}}]}
    if driver == DRIVER:
        spec["extendedResourceName"] = EXTENDED
    return {"apiVersion": _API, "kind": "DeviceClass", "metadata": {"name": driver}, "spec": spec}


def _slice(driver: str) -> dict[str, Any]:
    pool = {"name": driver, "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": f"gpu-{number}"} for number in range(2)]
    spec = {"driver": driver, "pool": pool, "allNodes": True, "devices": devices}
    return {"apiVersion": _API, "kind": "ResourceSlice", "metadata": {"name": driver}, "spec": spec}


def registration(folder: Path, driver: str) -> Path:
    """The socket at which the kubelet finds the driver."""
    return folder / "plugins_registry" / f"{driver}.sock"


def _information(endpoint: Path, driver: str) -> bytes:
    parts = {1: "DRAPlugin", 2: driver, 3: str(endpoint), 4: "v1.DRAPlugin"}
    return b"".join(message_field(number, text.encode()) for number, text in parts.items())


def _registered(request: bytes) -> bytes:
    # The first field is true after a success. The second has the error.
    print(REGISTERED if request[:2] == b"\x08\x01" else f"not registered: {request!r}", flush=True)
    return b""


def _prepared(request: bytes) -> bytes:
    """Every claim of the request, without a device file."""
    answer = b""
    for _, claim in fields_of(request):
        parts = dict(fields_of(claim))
        print("prepared", parts[3].decode(), flush=True)
        # An entry of a map from the uid to an empty answer.
        answer += message_field(1, message_field(1, parts[2]) + message_field(2, b""))
    return answer


def _released(request: bytes) -> bytes:
    return b"".join(
        message_field(1, message_field(1, dict(fields_of(claim))[2]) + message_field(2, b"")) for _, claim in fields_of(request)
    )


def main(driver: str, folder: str) -> None:
    """Serve for ever."""
    endpoint, found = Path(folder) / f"{driver}.sock", registration(Path(folder), driver)
    found.parent.mkdir(parents=True, exist_ok=True)
    for socket in (endpoint, found):
        socket.unlink(missing_ok=True)
    calls = {
        "pluginregistration.Registration": {
            "GetInfo": lambda request: _information(endpoint, driver),
            "NotifyRegistrationStatus": _registered,
        },
        _SERVICE: {"NodePrepareResources": _prepared, "NodeUnprepareResources": _released},
    }
    server = grpc.server(futures.ThreadPoolExecutor(8))
    for service, methods in calls.items():
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(lambda request, context, answer=answer: answer(request))
            for name, answer in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    for socket in (endpoint, found):
        server.add_insecure_port(f"unix://{socket}")
    server.start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
