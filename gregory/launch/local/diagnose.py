"""The exit of a local process -> its diagnosis. Pure."""

from gregory.runs.diagnosis import Diagnosis
from gregory.runs.exit_codes import signal_of
from gregory.runs.reasons import Reason


def ended_process(code: int, log_tail: str) -> Diagnosis:
    """The end of a local process. code: as subprocess gives it. log_tail: the end of its standard error."""
    # A run that exits with 143 by itself was not killed.
    if code < 0 and (signal := signal_of(code)):
        summary = f"the run's process was killed by signal {signal.value} ({signal.name})"
        return Diagnosis(summary=summary, reason=Reason.KILLED, exit_code=code, log_tail=log_tail)
    return Diagnosis(summary=f"the run's process exited with code {code} without a report", exit_code=code, log_tail=log_tail)
