"""Signals that end a command in good order, as an exception that says which."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(Exception):
    """A signal asks the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"interrupted by signal {self.number} ({signal.Signals(self.number).name})"


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
