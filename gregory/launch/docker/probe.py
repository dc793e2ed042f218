"""Try a container like that of a run before any row is written: it starts, reaches the database and can write the models."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import docker
from docker.models.containers import Container

from gregory.launch.docker.logs import UNREACHABLE, words
from gregory.launch.errors import PreconditionFailed

# The program of the image `train` in place of the run.
COMMAND = ["dumb-init", "--", "python", "manage.py", "preflight", "--only", "database", "models"]
# A line of its output.
_ERROR = re.compile(r"^ERROR +\S+ +(.+)$", re.MULTILINE)
# A database that drops packets answers after 20 s. A busy host takes seconds for the start.
SECONDS = 120
REMEDY = (
    "GREGORY_DOCKER_NETWORK and GREGORY_DOCKER_DB_HOST determine how a container reaches the database, GREGORY_DOCKER_USER its user, "
    "and GREGORY_DOCKER_GPUS its GPUs"
)


def require_working_container(daemon: docker.DockerClient, request: Mapping[str, Any]) -> None:
    """Run `preflight` in a container with the request of a run, and remove the container. Raises PreconditionFailed."""
    container = None
    # Without a name and labels, it is no container of a run.
    probe = {key: value for key, value in request.items() if key not in ("name", "labels")} | {"entrypoint": COMMAND, "command": []}
    try:
        container = daemon.containers.create(**probe)
        container.start()
        code = container.wait(timeout=SECONDS)["StatusCode"]
        problems = _problems(container, code)
    except UNREACHABLE as error:
        raise PreconditionFailed(f"a container for a run cannot be started: {words(error)}; {REMEDY}") from error
    finally:
        if container is not None:
            with suppress(*UNREACHABLE):
                container.remove(force=True)
    if problems:
        raise PreconditionFailed(f"in a container for a run: {'; '.join(problems)}; {REMEDY}")


def _problems(container: Container, code: int) -> list[str]:
    """The errors that `preflight` found. Another end than its own is one error."""
    found = _ERROR.findall(container.logs(stderr=False).decode("utf-8", "replace"))
    if code and not found:
        return [f"preflight ended with exit code {code}: {container.logs(tail=1).decode('utf-8', 'replace').strip()}"]
    return found
