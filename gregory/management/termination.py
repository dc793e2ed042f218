"""Signals that end a command in order, as an exception."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from gregory.shutdown import describe_signal


class Terminated(Exception):
    """A signal ends the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return describe_signal(self.number)


@contextmanager
def signals_raise() -> Iterator[None]:
    """In this block, SIGINT, SIGTERM and SIGHUP raise Terminated. All further signals of these kinds are ignored."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        for again in before:
            # A second Ctrl-C must not interrupt the closing of rows.
            signal.signal(again, signal.SIG_IGN)
        raise Terminated(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
