"""The cause of the end of a run, as one value from the runner to the row. No Django."""

from dataclasses import dataclass, replace
from typing import Self

from gregory.runs.reasons import Reason

LOG_TAIL_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The end of a run, or the condition that makes its end necessary.

    summary: what happened, in one line if the back end's message has one line. remedy: the next step of the operator.
    reason: None if the back end does not know it. exit_code: None if it is not known, -N if a local process ended by signal N.
    log_tail: the last lines of the run's log, at most LOG_TAIL_CHARACTERS.
    """

    summary: str
    reason: Reason | None = None
    remedy: str = ""
    exit_code: int | None = None
    log_tail: str = ""

    @property
    def headline(self) -> str:
        """Summary and remedy."""
        return "; ".join(part for part in (self.summary, self.remedy) if part)

    @property
    def text(self) -> str:
        """The text of a row: summary, remedy and log tail."""
        return f"{self.headline}; last lines of its log:\n{self.log_tail}" if self.log_tail else self.headline

    def because(self, reason: Reason) -> Self:
        """The same with this reason."""
        return replace(self, reason=reason)

    def after(self, cause: str) -> Self:
        """The same with an earlier cause in front of the summary."""
        return replace(self, summary="; ".join(part for part in (cause, self.summary) if part))

    def noting(self, fact: str) -> Self:
        """The same with one more fact at the end of the summary."""
        return replace(self, summary=f"{self.summary}; {fact}")
