"""Database calls of a run that works for hours: each is tried again for minutes, with its account left on disk before every pause."""

from collections.abc import Callable
from typing import TypeVar

from gregory.runs import db_retry
from job.outcome_report import Account
from job.shutdown import Interruption

T = TypeVar("T")


class Patience:
    """As long as nobody asks for the run's end: then there is time for one more try. Between two calls no connection is held."""

    def __init__(self, interruption: Interruption, account: Account) -> None:
        self._interruption = interruption
        self._account = account

    def durably(self, call: Callable[[], T]) -> T:
        """Call until the database answers; its last error passes through."""
        try:
            return db_retry.durably(call, sleep=self._sleep, patient=lambda: not self._interruption.requested)
        finally:
            db_retry.release()

    def _sleep(self, seconds: float) -> None:
        # A machine that takes the run away in the meantime leaves no other word of it.
        self._account.write()
        self._interruption.wait(seconds)
