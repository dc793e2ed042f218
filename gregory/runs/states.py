"""The states of a run. No Django."""

from enum import StrEnum


class RunState(StrEnum):
    """PENDING -> SUBMITTED -> RUNNING -> SUCCEEDED | FAILED | CANCELLED. Not knowing is never a state."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to a run in this state."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
