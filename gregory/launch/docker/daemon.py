"""What the Docker runner asks of a daemon: its identity, and the containers of runs."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import docker
from docker.errors import APIError
from docker.models.containers import Container

from gregory.launch.docker.container import LABEL
from gregory.launch.docker.logs import UNREACHABLE
from gregory.launch.errors import SubmitError
from gregory.runs.spec import HandleKind, RunSpec

CONFLICT = 409


def maps_users_of(daemon: docker.DockerClient) -> bool:
    """Whether a user of this machine has another id in a container (`userns-remap`, rootless mode)."""
    return any(option.startswith(("name=userns", "name=rootless")) for option in daemon.info().get("SecurityOptions") or ())


def host_of(daemon: docker.DockerClient) -> str:
    """The host of a container's handle: this daemon."""
    info = daemon.info()
    return HandleKind.CONTAINER.host(f"{info['Name']}#{info['ID']}")


def created(daemon: docker.DockerClient, spec: RunSpec, request: Mapping[str, Any]) -> Container:
    """The container of the request, made now or by an earlier call for this attempt. Raises SubmitError for a foreign one."""
    try:
        return daemon.containers.create(**request)
    except APIError as error:
        if error.status_code != CONFLICT:
            raise
    container = daemon.containers.get(request["name"])
    if container.labels.get(f"{LABEL}.attempt-token") != spec.attempt_token:
        raise SubmitError(
            f"a container named {request['name']} exists and is not this run's; remove it with: docker rm -f {request['name']}"
        )
    return container


def start_container(container: Container) -> None:
    """Start the container if it has not been. One that cannot start is removed."""
    if container.status != "created":
        return
    try:
        container.start()
    except APIError:
        # A container that cannot start would occupy the name for a later submission.
        with suppress(*UNREACHABLE):
            container.remove(force=True)
        raise


def end_of(container: Container) -> datetime:
    """The end of the container. One that was not started has none, so it is the time of its creation."""
    state = container.attrs["State"]
    return datetime.fromisoformat(container.attrs["Created"] if state["Status"] == "created" else state["FinishedAt"])


def containers_of(daemon: docker.DockerClient) -> dict[str, Container]:
    """The containers of runs by name, with the values of one list."""
    ours = daemon.containers.list(all=True, ignore_removed=True, sparse=True, filters={"label": f"{LABEL}.run-id"})
    return {container.attrs["Names"][0].lstrip("/"): container for container in ours}
