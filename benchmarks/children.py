"""The processes of a benchmark, and the signals that end it. No process of it outlives it, or a temporary folder around its block."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from gregory.shutdown import describe_signal, replaceable_handlers

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A command ends its stages and closes its rows. A benchmark ends its own processes.
GRACE_SECONDS = 120.0


class Stopped(BaseException):
    """A signal ends the benchmark. As for KeyboardInterrupt, no code that handles all errors may take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def started(argv: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process for the block, which waits for it. If it is still at work afterwards, it gets SIGTERM, and SIGKILL after the grace time.

    Ctrl-C does not reach it, because its process group is another one. options: of `subprocess.Popen`.
    """
    with subprocess.Popen(argv, text=True, process_group=0, **options) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def run(
    argv: Sequence[str | Path], *, check: bool = False, capture_output: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Do as `subprocess.run` does, in text, with the end of `started`."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} if capture_output else {}
    with started(argv, **pipes, **options) as process:
        output, errors = process.communicate()
    done = subprocess.CompletedProcess(argv, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def execute(main: Callable[[], int | None]) -> NoReturn:
    """Execute `main` as this program. A signal raises Stopped in it, and gives one line and the exit code that a shell would give."""
    for number in replaceable_handlers(SIGNALS):
        signal.signal(number, _stop)
    try:
        sys.exit(main())
    except Stopped as stopped:
        # `python -m benchmarks` reads the standard output of a benchmark. So its own line is the only one.
        print(f"stopped: {describe_signal(stopped.number)}", flush=True)
        sys.exit(128 + stopped.number)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    for again in replaceable_handlers(SIGNALS):
        # A second Ctrl-C must not interrupt the clean-up.
        signal.signal(again, signal.SIG_IGN)
    raise Stopped(number)
