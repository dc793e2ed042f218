"""The words of a run's life: states and reasons. Plain strings without Django, so that every side can share them."""

from enum import StrEnum
from uuid import uuid4


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


class Reason(StrEnum):
    """Why an algorithm or a run ended other than well. Which of them are worth another attempt is in `retries`, not here."""

    # The training's own ends.
    BAD_DATA = "bad_data"
    BAD_CONFIG = "bad_config"
    BASE_MODELS = "base_models"
    ARTIFACT = "artifact"
    ERROR = "error"
    NO_GPU = "no_gpu"
    OUT_OF_MEMORY = "out_of_memory"
    # Ends that somebody asked for.
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"
    DELETED = "deleted"
    # What a machine did to a run.
    KILLED = "killed"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    DEADLINE = "deadline"
    STALLED = "stalled"
    NO_REPORT = "no_report"
    LOST = "lost"
    # Why a run never began.
    NOT_STARTED = "not_started"
    IMAGE_PULL = "image_pull"
    UNSCHEDULABLE = "unschedulable"
    REFUSED = "refused"
    MISSING_OBJECT = "missing_object"


def new_run_id() -> str:
    """Twelve hexadecimal digits: unique, and short enough for every name that is derived from it."""
    return uuid4().hex[:12]


def new_token() -> str:
    """A secret-free fencing token: whoever holds the current one may write the run's end."""
    return uuid4().hex
