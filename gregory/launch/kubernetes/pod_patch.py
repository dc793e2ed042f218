"""`podTemplatePatch`: an operator's additions to the pod of a run, for settings without a key in the cluster file. Pure.

The patch is a deep merge like `kubectl patch`. It cannot change the parts that a run needs: command, labels, variables and the single
start.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from gregory.env import BASE_MODELS_DIGEST, DATABASE_VARIABLES, SSL_MODE, SSL_ROOT_CERTIFICATE
from gregory.launch.image import MODELS_IN_IMAGE
from gregory.launch.kubernetes.labels import is_ours

CONTAINER = "run"
# The init container that makes the folder of the run.
PREPARE = "prepare"
OUR_VARIABLES = frozenset(
    {
        *DATABASE_VARIABLES.values(),
        SSL_MODE,
        SSL_ROOT_CERTIFICATE,
        BASE_MODELS_DIGEST,
        "GREGORY_RUN_SPEC",
        "GREGORY_RUN_HANDLE",
        "GREGORY_JOB_UID",
        "GREGORY_IMAGE_DIGEST",
        "GREGORY_NODE_NAME",
        "GREGORY_RETRIED",
        "GREGORY_TERMINATION_LOG",
    }
)
# In another working directory, `python -m job` would find another module.
_COMMAND = ("command", "args", "workingDir")


def refusal(patch: Mapping[str, Any]) -> str | None:
    """The reason why this patch is not allowed, with key and remedy. None if it is allowed."""
    return next(_refusals(patch), None)


def merged(base: Any, patch: Any, *, key: str = "") -> Any:
    """A copy of `base` with the changes of `patch`. It shares no object with `patch`.

    Mappings merge, and null removes a key. Lists of objects with a `name` merge by name, volume mounts by `mountPath`. Every other list
    is replaced.
    """
    if isinstance(patch, Mapping):
        result = dict(base) if isinstance(base, Mapping) else {}
        for name, value in patch.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merged(result.get(name), value, key=name)
        return result
    identity = "mountPath" if key == "volumeMounts" else "name"
    if _all_have(identity, base) and _all_have(identity, patch):
        found = {item[identity]: item for item in base}
        return list((found | {item[identity]: merged(found.get(item[identity]), item) for item in patch}).values())
    return deepcopy(patch)


def _all_have(identity: str, items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, Mapping) and isinstance(item.get(identity), str) for item in items)


def _refusals(patch: Mapping[str, Any]) -> Iterator[str]:
    for part, content in patch.items():
        if part not in ("metadata", "spec"):
            yield f"a pod template has no key {part}; put it below metadata or spec"
        elif not isinstance(content, Mapping):
            yield f"{part} must be a mapping"
    for kind in ("labels", "annotations"):
        yield from _refused_marks(patch.get("metadata", {}).get(kind, {}), f"metadata.{kind}")
    pod = patch.get("spec", {})
    if "restartPolicy" in pod:
        yield "spec.restartPolicy cannot be patched: a Job starts a run once, and a retry is another Job; remove it"
    for kind in ("containers", "initContainers", "volumes"):
        if not _all_have("name", pod.get(kind, [])):
            yield f"spec.{kind} must be a list of objects with a name, which the merge needs"
    for kind, ours, module in (("containers", CONTAINER, "job"), ("initContainers", PREPARE, "job.prepare")):
        for container in pod.get(kind, []):
            if container["name"] == ours:
                yield from _refused_in_container(container, f"spec.{kind}.{ours}", module)


def _refused_marks(marks: Any, where: str) -> Iterator[str]:
    if not isinstance(marks, Mapping):
        yield f"{where} must be a mapping"
        return
    for name in marks:
        if is_ours(str(name)):
            yield f"{where}.{name} cannot be patched: it identifies the run; remove it"


def _refused_in_container(container: Mapping[str, Any], where: str, module: str) -> Iterator[str]:
    for key in _COMMAND:
        if key in container:
            yield f"{where}.{key} cannot be patched: the container runs the command of its image, `python -m {module}`; remove it"
    for mount in container.get("volumeMounts", []):
        if isinstance(mount, Mapping) and str(mount.get("mountPath", "")).rstrip("/").startswith(MODELS_IN_IMAGE):
            yield f"{where}.volumeMounts {mount['mountPath']} cannot be patched: a run mounts only the folder of its subject; remove it"
    env = container.get("env", [])
    if not _all_have("name", env):
        yield f"{where}.env must be a list of objects with a name, which the merge needs"
        return
    for variable in env:
        if variable["name"] in OUR_VARIABLES:
            yield f"{where}.env.{variable['name']} cannot be patched: it is set for each run; remove it"
