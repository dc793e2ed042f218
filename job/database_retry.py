"""Database calls of a run that works for hours: each is tried again for minutes, with its account left on disk before every pause."""

from collections.abc import Callable
from typing import TypeVar

from gregory.runs import db_retry
from job.outcome_report import OutcomeReport
from job.shutdown import ShutdownRequest

T = TypeVar("T")


class DatabaseRetry:
    """As long as nobody asks for the run's end: then there is time for one more try. Between two calls no connection is held."""

    def __init__(self, interruption: ShutdownRequest, account: OutcomeReport) -> None:
        self._interruption = interruption
        self._account = account

    def retry_on_disconnect(self, call: Callable[[], T]) -> T:
        """Call until the database answers; its last error passes through."""
        try:
            return db_retry.retry_on_disconnect(call, sleep=self._sleep, patient=lambda: not self._interruption.requested)
        finally:
            db_retry.close_connection()

    def _sleep(self, seconds: float) -> None:
        # A machine that takes the run away in the meantime leaves no other word of it.
        self._account.write()
        self._interruption.wait(seconds)
