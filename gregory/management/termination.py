"""Signals that end a command in order, as an exception, and the database calls of a command that obey them."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import NoReturn, TypeVar

from django.db import InterfaceError, OperationalError

from gregory.database import waits
from gregory.runs.db_retry import close_connection, retry_on_disconnect
from gregory.shutdown import describe_signal, replaceable_handlers

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Time for the last writes after a signal. A service manager or a pod's grace period gives at least 30 s.
CLOSING_SECONDS = 10.0
# The signals that the command of this thread has received.
_received: ContextVar[Sequence[int]] = ContextVar("received", default=())


class Terminated(BaseException):
    """A signal ends the command. As for KeyboardInterrupt, no code that handles all errors may take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return describe_signal(self.number)


@contextmanager
def signals_raise() -> Iterator[None]:
    """In this block, SIGINT, SIGTERM and SIGHUP raise Terminated. All further signals of these kinds are ignored.

    An ignored signal stays ignored. In another thread than the main one, the block changes nothing.
    """
    if not (before := replaceable_handlers(SIGNALS)):
        yield
        return
    received: list[int] = []

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        for again in before:
            # A second Ctrl-C must not interrupt the closing of rows.
            signal.signal(again, signal.SIG_IGN)
        received.append(number)
        raise Terminated(number)

    token = _received.set(received)
    for number in before:
        signal.signal(number, terminate)
    try:
        # After a signal, the database gets seconds for an answer.
        with waits.shortened_by(lambda: bool(received)):
            yield
    finally:
        _received.reset(token)
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_if_terminated() -> None:
    """Raise Terminated again. A signal in the middle of a database call may appear as an error of the database, which is retried."""
    if received := _received.get():
        raise Terminated(received[0])


def signal_behind(error: BaseException) -> Terminated | None:
    """The signal that ends the command, if there is one. error: the exception that arrived."""
    if isinstance(error, Terminated):
        return error
    return Terminated(received[0]) if (received := _received.get()) else None


def persist(call: Callable[[], T]) -> T:
    """Call the database until it answers, for minutes. Raises its last error, or Terminated at once after a signal."""

    def patient() -> bool:
        raise_if_terminated()
        return True

    return retry_on_disconnect(call, sleep=_sleep, patient=patient)


def settle(call: Callable[[], T], *, cause: BaseException) -> T | OperationalError | InterfaceError:
    """One of the last calls of a command that ends because of `cause`. Returns the error if the database does not answer.

    After a signal the call is repeated for CLOSING_SECONDS. After an error of the database, which was repeated before, it is not.
    """
    # The signal may have come in the middle of a statement. Its connection cannot be used again.
    close_connection()
    waited = isinstance(cause, OperationalError | InterfaceError) and signal_behind(cause) is None
    until = time.monotonic() + (0.0 if waited else CLOSING_SECONDS)
    try:
        return retry_on_disconnect(call, sleep=_sleep, patient=lambda: time.monotonic() < until)
    except (OperationalError, InterfaceError) as error:
        return error


def _sleep(seconds: float) -> None:
    # Looked up at each call, so that a test can replace it.
    time.sleep(seconds)
