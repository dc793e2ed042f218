"""The states of a run. No Django."""

from gregory.runs.words import Word


class RunState(Word):
    """PENDING -> SUBMITTED -> RUNNING -> SUCCEEDED | FAILED | CANCELLED. Unknown is never a state.

    A run in a state of another version has not ended.
    """

    PENDING = "pending"
    SUBMITTED = "submitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a run in this state never changes again, unless an operator resumes it."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
