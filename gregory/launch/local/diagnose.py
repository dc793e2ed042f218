"""The exit of a local process, as an observation. Pure."""

from gregory.launch.runner import Observation, Status
from gregory.runs.exit_codes import signal_of
from gregory.runs.reasons import Reason


def ended_process(code: int, log_tail: str) -> Observation:
    """A process of this machine, by its exit code as subprocess gives it and the end of its standard error."""
    words = f"; last lines of its standard error:\n{log_tail}" if log_tail else ""
    # A run that exits with 143 by itself was not killed.
    if code < 0 and (signal := signal_of(code)):
        detail = f"the run's process was killed by signal {signal.value} ({signal.name}){words}"
        return Observation(status=Status.TERMINATED, detail=detail, reason=Reason.KILLED, exit_code=code)
    return Observation(
        status=Status.TERMINATED, detail=f"the run's process exited with code {code} without a report{words}", exit_code=code
    )
