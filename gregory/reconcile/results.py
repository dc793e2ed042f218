"""The result of the reconciliation of one run, for the commands that print it."""

from dataclasses import dataclass
from enum import StrEnum

from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason


class ResultKind(StrEnum):
    """The action on one run. LEFT, UNSEEN (its runner failed) and NOTED (a new observation was written) are no end and no start."""

    LEFT = "left alone"
    UNSEEN = "not observed"
    NOTED = "noted"
    SUBMITTED = "submitted"
    RETRIED = "retried"
    CLOSED = "closed"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileResult:
    """run: as it was read before. reason: of the end, if there is one. unknown: the runner answered that the status is unknown."""

    run: TrainingRun
    action: ResultKind
    detail: str
    reason: Reason | None = None
    unknown: bool = False

    @property
    def is_unseen(self) -> bool:
        """Whether the run could not be observed, for any cause."""
        return self.unknown or self.action is ResultKind.UNSEEN

    @property
    def is_new(self) -> bool:
        """Whether the reconciler wrote something."""
        return self.action not in (ResultKind.LEFT, ResultKind.UNSEEN)

    def __str__(self) -> str:
        label = f"{self.run.spec['team']['slug']}/{self.run.spec['subject']['slug']}"
        action = f"{self.action} ({self.reason})" if self.reason is not None else str(self.action)
        return f"{self.run.run_id} {label}: {action}: {self.detail}"
