"""The volumes of a pod and the mounts of its containers. Pure."""

from collections.abc import Mapping
from typing import Any

from gregory.launch.image import BASE_MODELS_IN_IMAGE, DATABASE_FILES_IN_IMAGE, MODELS_IN_IMAGE, mounted_folders
from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.runs.spec import RunSpec


def mounts_of_run(spec: RunSpec, config: ClusterConfig) -> list[dict[str, Any]]:
    """The mounts of the run's container: of the models, only the folder of its subject."""
    volumes = config.volumes
    mounts: list[dict[str, Any]] = []
    for folder, read_only in mounted_folders(spec):
        in_volume = f"{volumes.models.sub_path}/{folder}" if volumes.models.sub_path else folder
        mount = {"name": "models", "mountPath": f"{MODELS_IN_IMAGE}/{folder}", "subPath": in_volume}
        mounts.append(mount | ({"readOnly": True} if read_only else {}))
    if not volumes.base_models.in_image:
        base_models = {"name": "base-models", "mountPath": BASE_MODELS_IN_IMAGE, "readOnly": True, "subPath": volumes.base_models.sub_path}
        mounts.append(drop_empty(base_models))
    for folder in sorted({DATABASE_FILES_IN_IMAGE[variable].rpartition("/")[0] for variable in config.database.secret_files}):
        mounts.append({"name": "database-certificate", "mountPath": folder, "readOnly": True})
    return [*mounts, {"name": "tmp", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108 - inside the container


def volumes_of(config: ClusterConfig) -> list[dict[str, Any]]:
    """The volumes of the pod."""
    base_models = config.volumes.base_models
    volumes: list[dict[str, Any]] = [{"name": "models", "persistentVolumeClaim": {"claimName": config.volumes.models.claim_name}}]
    if base_models.claim_name:
        volumes.append({"name": "base-models", "persistentVolumeClaim": {"claimName": base_models.claim_name, "readOnly": True}})
    if base_models.image:
        volumes.append({"name": "base-models", "image": base_models.image.model_dump(by_alias=True)})
    if files := config.database.secret_files:
        items = [{"key": key, "path": DATABASE_FILES_IN_IMAGE[variable].rpartition("/")[2]} for variable, key in files.items()]
        # libpq refuses a private key that other users may read.
        secret = {"secretName": config.database.existing_secret, "items": items, "defaultMode": 0o440}
        volumes.append({"name": "database-certificate", "secret": secret})
    shared = {"medium": "Memory", "sizeLimit": config.shared_memory.size}
    return [*volumes, {"name": "tmp", "emptyDir": {}}, {"name": "shm", "emptyDir": shared}]


def drop_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not empty. In the cluster file an empty value means "not set"."""
    return {key: value for key, value in values.items() if value not in ("", None, [], {})}
