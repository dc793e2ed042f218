"""The request that creates the container of a run: name, labels and options. Pure."""

from typing import Any

from docker.types import DeviceRequest, LogConfig, Mount

from gregory.env import SSL_ROOT_CERTIFICATE, Environment
from gregory.launch.image import BASE_MODELS_IN_IMAGE, DATABASE_CERTIFICATE_IN_IMAGE, PROJECT_IN_IMAGE
from gregory.runs.spec import Attempt, RunSpec

LABEL = "gregory-train"
INSIDE_IMAGE = "image"


def container_name(spec: Attempt) -> str:
    """The name of the attempt's container. A second submission finds the first by it."""
    return f"{LABEL}-{spec.run_id}-a{spec.attempt}"


def is_folder(source: str) -> bool:
    """Whether the source of a mount is a folder of the Docker host. Otherwise it is the name of a volume."""
    return source.startswith("/")


def container_request(spec: RunSpec, options: Environment, *, models: str, base_models: str, certificate: str) -> dict[str, Any]:
    """The arguments of `containers.create`, without the database credentials and the values that only the daemon knows.

    certificate: the file of the database's root certificate, or empty.
    """
    mounts = [_mount(models, f"{PROJECT_IN_IMAGE}/models")]
    if base_models != INSIDE_IMAGE:
        mounts.append(_mount(base_models, BASE_MODELS_IN_IMAGE, read_only=True))
    if certificate:
        mounts.append(_mount(certificate, DATABASE_CERTIFICATE_IN_IMAGE, read_only=True))
    request: dict[str, Any] = {
        "name": container_name(spec),
        "image": options.GREGORY_DOCKER_IMAGE,
        "environment": {
            "GREGORY_RUN_SPEC": spec.model_dump_json(),
            **({SSL_ROOT_CERTIFICATE: DATABASE_CERTIFICATE_IN_IMAGE} if certificate else {}),
        },
        "labels": _labels(spec, models=models, image=options.GREGORY_DOCKER_IMAGE),
        "mounts": mounts,
        "network_mode": options.GREGORY_DOCKER_NETWORK,
        "shm_size": options.GREGORY_DOCKER_SHM,
        "read_only": True,
        "tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777"},  # noqa: S108 - inside the container
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
