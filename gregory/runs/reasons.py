"""The reasons why a run or an algorithm failed. No Django."""

from enum import StrEnum


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
