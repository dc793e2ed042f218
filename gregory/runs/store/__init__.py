"""The only writer of the run tables and of PredictionRunLog.

Every write that ends something is fenced and guarded: the run's row is locked by an update that demands the caller's
attempt token, then the end is written only where none is. So the first writer wins, a superseded attempt writes
nothing, and what came too late is kept as an event. Times are the database's clock.

`opening` begins runs and attempts, `living` notes what becomes of them on the way, `ending` ends rows and runs, `reading`
answers; others know this name only.
"""

from gregory.runs.store.create import RunRefused, open_run, resume, retry
from gregory.runs.store.fencing import record_event, sanitize_text
from gregory.runs.store.finish import (
    MAXIMUM_ERROR_CHARACTERS,
    OutcomeDetails,
    close_algorithm,
    close_algorithms,
    end_run,
    fail_open_rows,
    finish_from_rows,
    finish_run,
)
from gregory.runs.store.queries import (
    RunWithTimers,
    active_run,
    active_runs,
    announced_end,
    failure_reason,
    find_run,
    find_runs,
    handle_of,
    in_training,
    is_silent,
    is_unfinished,
    latest_runs_without_success,
    listed_runs,
    open_algorithms,
    refusal,
    run_with_timers,
    runners_used,
    successes,
    unfinished_runs,
    unsuccessful,
)
from gregory.runs.store.update import (
    ObservedStatus,
    announce_end,
    begin_algorithm,
    claim,
    heartbeat,
    mark_submitted,
    record_observation,
    record_progress,
)

__all__ = [
    "MAXIMUM_ERROR_CHARACTERS",
    "ObservedStatus",
    "OutcomeDetails",
    "RunRefused",
    "RunWithTimers",
    "active_run",
    "active_runs",
    "announce_end",
    "announced_end",
    "begin_algorithm",
    "claim",
    "close_algorithm",
    "close_algorithms",
    "end_run",
    "fail_open_rows",
    "failure_reason",
    "find_run",
    "find_runs",
    "finish_from_rows",
    "finish_run",
    "handle_of",
    "heartbeat",
    "in_training",
    "is_silent",
    "is_unfinished",
    "latest_runs_without_success",
    "listed_runs",
    "mark_submitted",
    "open_algorithms",
    "open_run",
    "record_event",
    "record_observation",
    "record_progress",
    "refusal",
    "resume",
    "retry",
    "run_with_timers",
    "runners_used",
    "sanitize_text",
    "successes",
    "unfinished_runs",
    "unsuccessful",
]
