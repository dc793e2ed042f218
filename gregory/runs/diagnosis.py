"""The cause of the end of a run, as one value from the runner to the row. No Django."""

from dataclasses import dataclass, replace
from typing import Self

from gregory.runs import exit_codes
from gregory.runs.reasons import Reason

LOG_TAIL_CHARACTERS = 4_000


def log_tail_of(log: bytes | str) -> str:
    """The end of a log, at most LOG_TAIL_CHARACTERS. Bytes that are not UTF-8 become U+FFFD."""
    text = log.decode("utf-8", "replace") if isinstance(log, bytes) else log
    return text[-LOG_TAIL_CHARACTERS:].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The end of a run, or the condition for which a reconciler ends it.

    summary: the event and its details, with the message of the back end. remedy: the next step of the operator.
    reason: None if the back end does not know it. exit_code: None if it is not known. -N: signal N ended a local process.
    log_tail: the last lines of the run's log, from `log_tail_of`.
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
        return f"{self.headline}\nlast lines of its log:\n{self.log_tail}" if self.log_tail else self.headline

    def after(self, cause: str) -> Self:
        """The same with an earlier cause in front of the summary."""
        return replace(self, summary="; ".join(part for part in (cause, self.summary) if part))

    def noting(self, fact: str) -> Self:
        """The same with one more fact at the end of the summary."""
        return replace(self, summary=f"{self.summary}; {fact}")


# The end of a run that succeeded.
SUCCEEDED = Diagnosis(summary="", exit_code=exit_codes.SUCCESS)
