"""Imaginary devices for dynamic resource allocation (DRA): the objects by which drivers offer them. No node has such a driver."""

from typing import Any

DRIVER = "gpu.gregory.test"
# The devices of this one suit a run, whose pod then gets the node and cannot start.
NOT_INSTALLED = "absent.gregory.test"
_API = "resource.k8s.io/v1"


def objects() -> list[dict[str, Any]]:
    """A DeviceClass for each of the two drivers, and their devices, which every node offers."""
    return [one for driver in (DRIVER, NOT_INSTALLED) for one in (_device_class(driver), _slice(driver))]


def template(name: str, device_class: str, condition: str, *, namespace: str) -> dict[str, Any]:
    """A ResourceClaimTemplate for one device of the class that meets the condition."""
    exactly = {"deviceClassName": device_class, "selectors": [{"cel": {"expression": condition}}]}
    spec = {"spec": {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}}}
    return {"apiVersion": _API, "kind": "ResourceClaimTemplate", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _device_class(driver: str) -> dict[str, Any]:
    selectors = [{"cel": {"expression": f"device.driver == '{driver}'"}}]
    return {"apiVersion": _API, "kind": "DeviceClass", "metadata": {"name": driver}, "spec": {"selectors": selectors}}


def _slice(driver: str) -> dict[str, Any]:
    pool = {"name": driver, "generation": 1, "resourceSliceCount": 1}
    devices = [{"name": f"gpu-{number}"} for number in range(2)]
    spec = {"driver": driver, "pool": pool, "allNodes": True, "devices": devices}
    return {"apiVersion": _API, "kind": "ResourceSlice", "metadata": {"name": driver}, "spec": spec}
