"""The state of a container that ended, as an observation. Pure."""

from collections.abc import Mapping
from typing import Any

from gregory.launch.runner import Observation, Status
from gregory.runs.exit_codes import signal_of
from gregory.runs.reasons import Reason


def ended_container(attributes: Mapping[str, Any], log_end: str) -> Observation:
    """What `docker inspect` says of a container that does not run, in words and as a reason."""
    name, state = attributes["Name"].lstrip("/"), attributes["State"]
    code = state["ExitCode"]
    words = f"; last lines of its log:\n{log_end}" if log_end else ""
    if state["OOMKilled"]:
        limit = attributes["HostConfig"]["Memory"]
        bound = f"its memory limit is {limit / 2**20:.0f} MiB; raise GREGORY_DOCKER_MEMORY" if limit else "the machine has no more"
        detail = f"OOMKilled: the kernel ended container {name} for lack of memory: {bound}{words}"
        return Observation(status=Status.TERMINATED, detail=detail, reason=Reason.OUT_OF_MEMORY, exit_code=code)
    if state["Status"] == "created":
        return Observation(status=Status.TERMINATED, detail=f"container {name} was made and never started", reason=Reason.NOT_STARTED)
    if state["Error"]:
        detail = f"container {name} ended with exit code {code}: {state['Error']}{words}"
        return Observation(status=Status.TERMINATED, detail=detail, exit_code=code)
    if signal := signal_of(code):
        detail = f"container {name} was ended by signal {signal.value} ({signal.name}), by hand or with the Docker daemon{words}"
        return Observation(status=Status.TERMINATED, detail=detail, reason=Reason.KILLED, exit_code=code)
    detail = f"container {name} ended with exit code {code} and left no report{words}"
    return Observation(status=Status.TERMINATED, detail=detail, exit_code=code)
