"""The request that creates the container of a run: name, labels and options. Pure."""

from collections.abc import Mapping
from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount

from gregory.env import BASE_MODELS_DIGEST, Environment
from gregory.launch.image import BASE_MODELS_IN_IMAGE, DATABASE_FILES_IN_IMAGE, MODELS_IN_IMAGE, mounted_folders
from gregory.runs.spec import Attempt, RunSpec

LABEL = "gregory-train"
INSIDE_IMAGE = "image"
# Processes and threads. TensorFlow and LightGBM start some threads for each processor, so this is enough for a machine with 256 of them.
MOST_PROCESSES = 4096


def container_name(spec: Attempt) -> str:
    """The name of the attempt's container. A second submission finds the first by it."""
    return f"{LABEL}-{spec.run_id}-a{spec.attempt}"


def is_folder(source: str) -> bool:
    """Whether the source of a mount is a folder of the Docker host. Otherwise it is the name of a volume."""
    return source.startswith("/")


def container_request(spec: RunSpec, options: Environment, *, models: str, base_models: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of `containers.create`, without the database credentials and the values that only the daemon knows.

    Of a volume, a run mounts all models, because Docker mounts no part of a volume before version 26. files: those of the connection to
    the database, by the variables that name them.
    """
    mounts = [all_models(models)]
    if is_folder(models):
        folders = mounted_folders(spec)
        mounts = [_mount(f"{models}/{folder}", f"{MODELS_IN_IMAGE}/{folder}", read_only=reads) for folder, reads in folders]
    if base_models != INSIDE_IMAGE:
        mounts.append(_mount(base_models, BASE_MODELS_IN_IMAGE, read_only=True))
    mounts += [_mount(file, DATABASE_FILES_IN_IMAGE[variable], read_only=True) for variable, file in files.items()]
    request: dict[str, Any] = {
        "name": container_name(spec),
        "image": options.GREGORY_DOCKER_IMAGE,
        "environment": {
            "GREGORY_RUN_SPEC": spec.model_dump_json(),
            **{variable: DATABASE_FILES_IN_IMAGE[variable] for variable in files},
            **({BASE_MODELS_DIGEST: options.GREGORY_BASE_MODELS_DIGEST} if options.GREGORY_BASE_MODELS_DIGEST else {}),
        },
        "labels": _labels(spec, models=models, image=options.GREGORY_DOCKER_IMAGE),
        "mounts": mounts,
        "network_mode": options.GREGORY_DOCKER_NETWORK,
        "shm_size": options.GREGORY_DOCKER_SHM,
        "read_only": True,
        "tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777"},  # noqa: S108 - inside the container
        "pids_limit": MOST_PROCESSES,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "log_config": LogConfig(type="json-file", config={"max-size": "20m", "max-file": "3"}),
    }
    if options.GREGORY_DOCKER_MEMORY:
        # No swap: a training that swaps takes longer than a failed one that an operator resumes.
        request |= {"mem_limit": options.GREGORY_DOCKER_MEMORY, "memswap_limit": options.GREGORY_DOCKER_MEMORY}
    if gpus := options.GREGORY_DOCKER_GPUS:
        request["device_requests"] = [DeviceRequest(count=-1 if gpus == "all" else int(gpus), capabilities=[["gpu"]])]
    return request


def all_models(models: str) -> Mount:
    """The mount of the whole models folder, for a container that has no code of a run."""
    return _mount(models, MODELS_IN_IMAGE)


def _labels(spec: RunSpec, *, models: str, image: str) -> dict[str, str]:
    values = {
        "run-id": spec.run_id,
        "attempt": str(spec.attempt),
        "attempt-token": spec.attempt_token,
        "team": spec.team.slug,
        "subject": spec.subject.slug,
        "models": models,
        "image": image,
    }
    return {f"{LABEL}.{key}": value for key, value in values.items()}


def _mount(source: str, target: str, *, read_only: bool = False) -> Mount:
    return Mount(target=target, source=source, type="bind" if is_folder(source) else "volume", read_only=read_only)
