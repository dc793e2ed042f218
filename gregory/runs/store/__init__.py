"""The only writer of the run tables and of PredictionRunLog.

Every write of an end is fenced: an update that needs the caller's attempt token locks the run's row. Then the end is written only
if there is none. So the first writer wins, a superseded attempt writes nothing, and a late report becomes an event. Times are from
the clock of the database. Every write is a transaction, because the limits of `gregory.database.waits` hold in transactions.

`create` opens runs and attempts, `update` records their progress, `finish` ends rows and runs, `queries` and `trainings` read.
`recorded_models` has the places of models. Other packages import this package only.
"""

from gregory.runs.store.create import RunRefused, open_run, resume, retry
from gregory.runs.store.fencing import record_event, sanitize_text
from gregory.runs.store.finish import (
    MAXIMUM_ERROR_CHARACTERS,
    OutcomeDetails,
    close_algorithm,
    close_algorithms,
    end_queued,
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
    claim_key,
    find_run,
    find_runs,
    handle_of,
    is_silent,
    is_unfinished,
    latest_runs_without_success,
    listed_runs,
    note_outage,
    refusal,
    run_with_timers,
    runners_used,
    unfinished_runs,
)
from gregory.runs.store.recorded_models import RecordedModel, accept_place, recorded_models
from gregory.runs.store.stored_spec import attempt_of, slugs_of, window_of
from gregory.runs.store.trainings import (
    TrainingRecord,
    being_published,
    deleted_training,
    failure_reason,
    in_training,
    newest_trainings,
    open_algorithms,
    overriding,
    trainings,
    unsuccessful,
)
from gregory.runs.store.update import (
    ObservedStatus,
    announce_end,
    begin_algorithm,
    begin_publishing,
    claim,
    heartbeat,
    mark_submitted,
    record_delay,
    record_observation,
    record_progress,
)
from gregory.runs.store.versions import take_next_version, with_recorded_versions

__all__ = [
    "MAXIMUM_ERROR_CHARACTERS",
    "ObservedStatus",
    "OutcomeDetails",
    "RecordedModel",
    "RunRefused",
    "RunWithTimers",
    "TrainingRecord",
    "accept_place",
    "active_run",
    "active_runs",
    "announce_end",
    "announced_end",
    "attempt_of",
    "begin_algorithm",
    "begin_publishing",
    "being_published",
    "claim",
    "claim_key",
    "close_algorithm",
    "close_algorithms",
    "deleted_training",
    "end_queued",
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
    "newest_trainings",
    "note_outage",
    "open_algorithms",
    "open_run",
    "overriding",
    "record_delay",
    "record_event",
    "record_observation",
    "record_progress",
    "recorded_models",
    "refusal",
    "resume",
    "retry",
    "run_with_timers",
    "runners_used",
    "sanitize_text",
    "slugs_of",
    "take_next_version",
    "trainings",
    "unfinished_runs",
    "unsuccessful",
    "window_of",
    "with_recorded_versions",
]
