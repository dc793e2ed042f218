"""Signals that end a command in good order, as an exception that says which."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

LOOK_SECONDS = 0.5


class Terminated(Exception):
    """A signal asks the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"interrupted by signal {self.number} ({signal.Signals(self.number).name})"


class Stop:
    """SIGINT and SIGTERM are remembered, for a command that ends where nothing is half done."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def wait(self, seconds: float) -> None:
        """Sleep, but not into the end that was asked for."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


@contextmanager
def signals_raise() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP end the command in good order while runs are in its hands."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        for again in before:
            signal.signal(again, signal.SIG_IGN)  # a second Ctrl-C must not cut the closing short
        raise Terminated(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
