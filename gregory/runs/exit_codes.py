"""The exit codes of this project's programs, and the signal that an exit code contains. No Django."""

from signal import Signals

SUCCESS = 0
FAILURE = 1
# The specification, or the command line, cannot be used.
USAGE = 2
# A signal that ends a process gives 128 + its number, as in a shell and in a container.
_FIRST_SIGNAL = 128
SIGKILL = _FIRST_SIGNAL + Signals.SIGKILL
# Also the exit code of a run that got SIGTERM and stopped in order.
SIGTERM = _FIRST_SIGNAL + Signals.SIGTERM


def of_signal(number: int) -> int:
    """The exit code of a process that this signal ended."""
    return _FIRST_SIGNAL + number


def signal_of(code: int) -> Signals | None:
    """The signal that ended the process, from 128 + N or from subprocess's -N; None if the process exited by itself."""
    number = -code if code < 0 else code - _FIRST_SIGNAL
    return Signals(number) if number in {signal.value for signal in Signals} else None
