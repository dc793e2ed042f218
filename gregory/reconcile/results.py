"""The result of the reconciliation of one run, for the commands that print it."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError

from gregory.database.errors import RowLocked
from gregory.launch.errors import LaunchError
from gregory.output import one_line
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.volume import VolumeUnavailable


class ResultKind(StrEnum):
    """The action on one run. LEFT, UNSEEN (its runner failed) and NOTED (a new observation was written) are no end and no start.

    ERROR: an error that this program does not expect ended the reconciliation of this run.
    """

    LEFT = "left alone"
    UNSEEN = "not observed"
    NOTED = "noted"
    SUBMITTED = "submitted"
    RETRIED = "retried"
    CLOSED = "closed"
    SUCCEEDED = "succeeded"
    ERROR = "error"


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileResult:
    """run: as it was read before. reason: of the end, if there is one. unknown: the runner answered that the status is unknown.

    end_waits: the models volume does not answer for a terminated run, or another client holds a lock of its rows. traceback: of an error.
    following: the attempt that was opened and must be submitted.
    """

    run: TrainingRun
    action: ResultKind
    detail: str
    reason: Reason | None = None
    unknown: bool = False
    end_waits: bool = False
    following: RunSpec | None = None
    traceback: str = ""

    @property
    def is_unseen(self) -> bool:
        """Whether the run could not be observed, for any cause."""
        return self.unknown or self.action is ResultKind.UNSEEN

    @property
    def is_new(self) -> bool:
        """Whether the reconciler wrote something."""
        return self.action not in (ResultKind.LEFT, ResultKind.UNSEEN, ResultKind.ERROR)

    @property
    def is_delayed(self) -> bool:
        """Whether the run waits for a cause that an operator should know."""
        waits_for_submission = self.action is ResultKind.LEFT and self.run.state == RunState.PENDING
        return self.end_waits or waits_for_submission or self.action in (ResultKind.UNSEEN, ResultKind.ERROR)

    def __str__(self) -> str:
        action = f"{self.action} ({self.reason})" if self.reason is not None else str(self.action)
        return one_line(f"{self.run.run_id} {store.label_of(self.run)}: {action}: {self.detail}")


def isolated(run: TrainingRun, call: Callable[[], T]) -> T | ReconcileResult:
    """The value of a call for one run. An error of this run must not stop the others, so it becomes a result.

    Raises DatabaseError and InterfaceError if the database cannot be used, because then no run can be reconciled.
    """
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the other runs continue, and the command prints the error
        return failed(run, error)


def failed(run: TrainingRun, error: Exception) -> ReconcileResult:
    """The result of a run whose reconciliation raised this error. Raises the error if the database cannot be used."""
    if isinstance(error, LaunchError):
        return ReconcileResult(run=run, action=ResultKind.UNSEEN, detail=str(error))
    if isinstance(error, VolumeUnavailable):
        detail = f"its end waits, because its results are not known: {error}"
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail=detail, end_waits=True)
    if isinstance(error, RowLocked):
        detail = f"another client of the database holds a lock of its rows: {one_line(str(error))}"
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail=detail, end_waits=True)
    # With a DataError or an IntegrityError the database refuses a value of this run.
    if isinstance(error, DatabaseError | InterfaceError) and not isinstance(error, DataError | IntegrityError):
        raise error
    detail = f"{type(error).__name__}: {one_line(str(error))}"
    trace = "".join(traceback.format_exception(error))
    return ReconcileResult(run=run, action=ResultKind.ERROR, detail=detail, traceback=trace)
