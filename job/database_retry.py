"""Database calls of a run. A call that fails is retried for minutes. Before each pause the outcome report is written."""

from collections.abc import Callable
from typing import TypeVar

from gregory.runs import db_retry
from gregory.shutdown import ShutdownRequest
from job.outcome_report import OutcomeReport

T = TypeVar("T")


class DatabaseRetry:
    """Retries until a shutdown is requested, then once more. No connection stays open between two calls."""

    def __init__(self, shutdown: ShutdownRequest, report: OutcomeReport) -> None:
        self._shutdown = shutdown
        self._report = report

    def __call__(self, call: Callable[[], T]) -> T:
        """The result of the call. Raises its last database error."""
        try:
            return db_retry.retry_on_disconnect(call, sleep=self._sleep, patient=lambda: not self._shutdown.requested)
        finally:
            db_retry.close_connection()

    def _sleep(self, seconds: float) -> None:
        # If the back end ends the run during the pause, the report is all that is left of it.
        self._report.write()
        self._shutdown.wait(seconds)
