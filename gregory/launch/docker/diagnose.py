"""The state of a container that ended -> its diagnosis. Pure."""

from collections.abc import Mapping
from typing import Any

from gregory.runs.diagnosis import Diagnosis
from gregory.runs.exit_codes import signal_of
from gregory.runs.reasons import Reason

# The daemon writes this exit code for a container that ended while it did not run, for example in a power failure.
UNSEEN = 255


def ended_container(attributes: Mapping[str, Any], log_tail: str) -> Diagnosis:
    """The end of a container that does not run. attributes: the object that `docker inspect` prints."""
    name, state = attributes["Name"].lstrip("/"), attributes["State"]
    code = state["ExitCode"]
    if state["OOMKilled"]:
        limit = attributes["HostConfig"]["Memory"]
        bound = f"its memory limit is {limit / 2**20:.0f} MiB" if limit else "the Docker host has no more memory"
        return Diagnosis(
            summary=f"OOMKilled: the kernel ended container {name} for lack of memory: {bound}",
            remedy="raise GREGORY_DOCKER_MEMORY" if limit else "",
            reason=Reason.OUT_OF_MEMORY,
            exit_code=code,
            log_tail=log_tail,
        )
    if state["Status"] == "created":
        return Diagnosis(summary=f"container {name} was created and never started", reason=Reason.NOT_STARTED)
    if state["Error"]:
        return Diagnosis(summary=f"container {name} ended with exit code {code}: {state['Error']}", exit_code=code, log_tail=log_tail)
    if code == UNSEEN:
        summary = f"container {name} ended while the Docker host or its daemon did not run (exit code {code})"
        return Diagnosis(summary=summary, exit_code=code, log_tail=log_tail)
    if signal := signal_of(code):
        summary = f"container {name} was ended by signal {signal.value} ({signal.name}), by hand or with the Docker daemon"
        return Diagnosis(summary=summary, reason=Reason.KILLED, exit_code=code, log_tail=log_tail)
    return Diagnosis(summary=f"container {name} ended with exit code {code} and left no report", exit_code=code, log_tail=log_tail)
