"""The part of each object that a diagnosis or a collection of garbage reads. A list of ten thousand whole objects takes a gigabyte. Pure.

The rest is left out by name, so a field that a later diagnosis reads is there. An object that is not understood stays whole.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from gregory.launch.kubernetes.diagnose.pod_status import NOT_UNDERSTOOD

_Thing = dict[str, Any]
_Kept = TypeVar("_Kept")
_METADATA = {"managedFields", "ownerReferences", "finalizers", "generateName", "namespace", "resourceVersion"}
_JOB = {"template", "podFailurePolicy", "selector"}
_POD = {"affinity", "tolerations", "topologySpreadConstraints", "securityContext", "imagePullSecrets", "nodeSelector", "dnsPolicy"}
_CONTAINER = {
    "env", "envFrom", "command", "args", "volumeMounts", "securityContext", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe",
    "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy",
}  # fmt: skip


def job(whole: _Thing) -> _Thing:
    """The Job without its pod template."""
    return _understood(whole, lambda: _object(whole, _without(whole["spec"], _JOB)))


def pod(whole: _Thing) -> _Thing:
    """The pod without the settings of its containers."""
    return _understood(whole, lambda: _object(whole, _pod_spec(whole["spec"])))


def event(whole: _Thing, jobs: Collection[str]) -> _Thing | None:
    """The event if it is about one of these Jobs, their pods and Workloads, or about a claim."""

    def reduced() -> _Thing | None:
        about = whole["involvedObject"]
        kind, name = about.get("kind", ""), about.get("name", "")
        of_job = name if kind == "Job" else name.removeprefix("job-").rpartition("-")[0] if kind in ("Pod", "Workload") else ""
        if of_job not in jobs and kind != "PersistentVolumeClaim":
            return None
        return _without(whole, {"metadata", "source", "reportingComponent", "reportingInstance", "type", "action", "related"})

    return _understood(whole, reduced)


def _object(whole: _Thing, spec: _Thing) -> _Thing:
    return {"metadata": _without(whole["metadata"], _METADATA), "spec": spec, **({"status": whole["status"]} if "status" in whole else {})}


def _pod_spec(spec: _Thing) -> _Thing:
    kept = _without(spec, _POD)
    for name in ("containers", "initContainers"):
        if spec.get(name):
            kept[name] = [_without(container, _CONTAINER) for container in spec[name]]
    if spec.get("volumes"):
        kept["volumes"] = [volume for volume in spec["volumes"] if volume.get("persistentVolumeClaim")]
    return kept


def _without(whole: Mapping[str, Any], names: Collection[str]) -> _Thing:
    return {name: value for name, value in whole.items() if name not in names}


def _understood(whole: _Thing, reduce: Callable[[], _Kept]) -> _Thing | _Kept:
    try:
        return reduce()
    except NOT_UNDERSTOOD:
        return whole
