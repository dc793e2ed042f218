"""Try a container like that of a run before any row is written: it starts, reaches the database and can write the models."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container
from requests.exceptions import ConnectionError as ConnectionFailed
from requests.exceptions import Timeout
from urllib3.exceptions import ReadTimeoutError

from gregory.launch.docker.container import LABEL, all_models
from gregory.launch.docker.logs import UNREACHABLE, words
from gregory.launch.errors import PreconditionFailed, SubmitError
from gregory.launch.image import MODELS_IN_IMAGE, PREPARE_COMMAND
from gregory.runs.reasons import Reason

# The program of the image `train` in place of the run.
COMMAND = ["dumb-init", "--", "python", "manage.py", "preflight", "--as-run", "--only", "database", "models", "--folders", "."]
# A line of its output.
_ERROR = re.compile(r"^ERROR +\S+ +(.+)$", re.MULTILINE)
# A database that drops packets answers after 20 s. A busy host takes seconds for the start.
SECONDS = 120
# It has no label of a run, so that no list of runs contains it. Garbage collection finds it by the label `models`.
LABEL_OF_TRIAL = f"{LABEL}.trial"
# Longer than any trial. A command that was killed leaves its trial.
KEEP_SECONDS = 3600
REMEDY = (
    "GREGORY_DOCKER_NETWORK and GREGORY_DOCKER_DB_HOST determine how a container reaches the database, GREGORY_DOCKER_USER its user, "
    "and GREGORY_DOCKER_GPUS its GPUs"
)


def require_working_container(daemon: docker.DockerClient, request: Mapping[str, Any], folders: Sequence[Path]) -> None:
    """Run `preflight` in a container with the request of a run, and remove the container. Raises PreconditionFailed.

    folders: those of the algorithms to train, below the models folder. No other folder is tried.
    """
    # A slug can begin with a hyphen, like an option.
    command = [*COMMAND, *(f"./{folder.as_posix()}" for folder in folders)]
    try:
        with _trial(daemon, request, command) as container:
            # A slow file system needs up to a second for each folder.
            problems = _problems(container, _exit_code(container, seconds=SECONDS + len(folders)))
    except UNREACHABLE as error:
        raise PreconditionFailed(f"a container for a run cannot be started: {words(error)}; {REMEDY}") from error
    if problems:
        raise PreconditionFailed(f"in a container for a run: {'; '.join(problems)}; {REMEDY}")


def prepare_folder(daemon: docker.DockerClient, request: Mapping[str, Any]) -> None:
    """Make the folder of a run in a container of its own, as the user of the run. The daemon would make it as root.

    That container has no network and no credentials. Raises SubmitError, and UNREACHABLE if the daemon does not answer.
    """
    environment = {"GREGORY_RUN_SPEC": request["environment"]["GREGORY_RUN_SPEC"]}
    reduced = {key: value for key, value in request.items() if key != "device_requests"} | {"mounts": []}
    reduced |= {"environment": environment, "network_mode": "none"}
    with _trial(daemon, reduced, PREPARE_COMMAND) as container:
        if code := int(container.wait(timeout=SECONDS)["StatusCode"]):
            log = container.logs(tail=1).decode("utf-8", "replace").strip()
            raise SubmitError(f"the folder of the run could not be made: {log or f'exit code {code}'}", reason=Reason.STORAGE)


@contextmanager
def _trial(daemon: docker.DockerClient, request: Mapping[str, Any], command: Sequence[str]) -> Iterator[Container]:
    """A started container with the request of a run, but another command and all models. It is removed after the block.

    Labels of a trial replace name and labels of the run.
    """
    models = f"{LABEL}.models"
    source = request["labels"][models]
    others = [mount for mount in request["mounts"] if not mount["Target"].startswith(MODELS_IN_IMAGE)]
    container = daemon.containers.create(
        **{key: value for key, value in request.items() if key != "name"}
        | {
            "labels": {LABEL_OF_TRIAL: "preflight", models: source},
            "mounts": [all_models(source), *others],
            "entrypoint": list(command),
            "command": [],
        }
    )
    try:
        container.start()
        yield container
    finally:
        with suppress(*UNREACHABLE):
            container.remove(force=True)


def _exit_code(container: Container, *, seconds: int) -> int:
    try:
        return int(container.wait(timeout=seconds)["StatusCode"])
    except (Timeout, ConnectionFailed) as error:
        # After the first byte of an answer, requests reports the end of the time as a broken connection.
        if isinstance(error, Timeout) or any(isinstance(cause, ReadTimeoutError) for cause in error.args):
            raise PreconditionFailed(f"a container for a run did not finish its check within {seconds} s; {REMEDY}") from error
        raise


def _problems(container: Container, code: int) -> list[str]:
    """The errors that `preflight` found. Another end than its own is one error."""
    found = _ERROR.findall(container.logs(stderr=False).decode("utf-8", "replace"))
    if code and not found:
        return [f"preflight ended with exit code {code}: {container.logs(tail=1).decode('utf-8', 'replace').strip()}"]
    return found
