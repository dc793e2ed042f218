"""A connection whose every wait has a limit.

psycopg waits without a limit. TCP limits do not help if the server's host acknowledges packets and the server is stopped.
"""

from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg import capabilities
from psycopg.pq import TransactionStatus

from gregory.database import waits

Answer = TypeVar("Answer")
State = TypeVar("State")
CANCEL_SECONDS = 2.0


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time. The connection is closed, and the result of the statement is unknown."""


def bounded(steps: Generator[State, Any, Answer], patience: waits.Patience) -> Generator[State, Any, Answer]:
    """The same steps. Raises NoAnswer when the patience is exhausted. psycopg makes a step ten times a second, also without an answer."""
    try:
        state = next(steps)
        while True:
            ready = yield state
            if ready:
                patience.hear()
            if why := patience.exhausted:
                raise NoAnswer(why)
            state = steps.send(ready)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


class Session(psycopg.Connection[Any]):
    """A connection that is closed when its server does not answer in time."""

    def wait(self, gen: Generator[Any, Any, Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """Wait for the answer of the server. Every operation of an open connection waits here."""
        try:
            return super().wait(bounded(gen, waits.Patience(waits.answer_seconds())), interval, timeout)
        except NoAnswer:
            # Otherwise a statement that waits for a lock is executed after its caller has given up.
            if capabilities.has_cancel_safe():
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=CANCEL_SECONDS)
            self.pgconn.finish()
            raise
        except psycopg.Error:
            raise
        except BaseException:
            # An exception of a signal handler. The next statement must not get the answer of this one.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> Generator[Any, Any, "Session"]:
        # `connect_timeout` is the usual limit. This one is for the end of the process.
        return (yield from bounded(super()._connect_gen(conninfo), waits.Patience()))
