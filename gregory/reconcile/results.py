"""What one look at a run came to, as a value: for the commands that tell people of it."""

from dataclasses import dataclass
from enum import StrEnum

from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason


class ResultKind(StrEnum):
    """LEFT alone, UNSEEN since its runner could not be asked, and NOTED something new write no end; the others say what was done."""

    LEFT = "left alone"
    UNSEEN = "not looked at"
    NOTED = "noted"
    SUBMITTED = "submitted"
    TRIED_AGAIN = "tried again"
    CLOSED = "closed"
    SUCCEEDED = "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileResult:
    """run: as it was before the look. reason: of the end that was found, where there is one.

    unknown: whether it was looked for and nobody could say whether it lives.
    """

    run: TrainingRun
    action: ResultKind
    detail: str
    reason: Reason | None = None
    unknown: bool = False

    @property
    def is_unseen(self) -> bool:
        """Whether nothing is known of it, for whatever cause."""
        return self.unknown or self.action is ResultKind.UNSEEN

    @property
    def is_new(self) -> bool:
        """Whether anything was written."""
        return self.action not in (ResultKind.LEFT, ResultKind.UNSEEN)

    def __str__(self) -> str:
        label = f"{self.run.spec['team']['slug']}/{self.run.spec['subject']['slug']}"
        action = f"{self.action} ({self.reason})" if self.reason is not None else str(self.action)
        return f"{self.run.run_id} {label}: {action}: {self.detail}"
