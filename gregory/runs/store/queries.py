"""The reads of the run store. Times are compared with the clock of the database."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypedDict

from django.db import connection, models
from django.db.models.functions import Now

from gregory.runs import db_retry, report_key
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.outage import OUTAGES
from gregory.runs.reasons import RETRYABLE, Reason
from gregory.runs.spec import Attempt, RunHandle, RunKind
from gregory.runs.states import RunState
from gregory.runs.store.fencing import FINAL, current

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class _Clock(TypedDict):
    """The time of the database, read with a row, and the start time of its server if it has one."""

    clock: datetime
    up_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWithTimers:
    """A run, with timers in seconds by the clock of the database.

    heard: since its last heartbeat. silent: the part of `heard` in which the run could write one. During an outage of the database it
    could not. So for RETURN_GRACE seconds after an outage, silent counts from its end.
    idle: the time without a new message of a stage, as the run reported it with its last heartbeat. None if no stage has begun.
    missing: since its back end first did not have it, None if it has.
    """

    run: TrainingRun
    heard: float
    silent: float
    idle: float | None
    missing: float | None


def find_run(run_id: str) -> TrainingRun | None:
    """The run of that id, else None."""
    return TrainingRun.objects.filter(pk=run_id).first()


def find_runs(ids: Collection[str]) -> dict[str, TrainingRun]:
    """The existing runs among these ids, in one query."""
    return TrainingRun.objects.in_bulk(ids)


def latest_runs_without_success(limit: int, kind: RunKind) -> list[TrainingRun]:
    """The newest runs of this kind without success, finished or not, newest first."""
    return list(TrainingRun.objects.filter(kind=kind).exclude(state=RunState.SUCCEEDED).order_by("-queued_at", "run_id")[:limit])


def listed_runs(*, team: str | None, subject: str | None, state: RunState | None, limit: int) -> list[TrainingRun]:
    """Runs for a listing: unfinished runs first, then ended ones, each part newest first."""
    wanted = {"subject__team__slug": team, "subject__subject_slug": subject, "state": state}
    runs = TrainingRun.objects.filter(**{field: value for field, value in wanted.items() if value is not None})
    ended = models.Case(models.When(state__in=FINAL, then=models.Value(1)), default=models.Value(0))
    return list(runs.order_by(ended, "-queued_at", "run_id")[:limit])


def active_run(subject_id: int, kind: RunKind) -> TrainingRun | None:
    """The unfinished run of this kind of a subject, else None."""
    return TrainingRun.objects.filter(subject_id=subject_id, kind=kind).exclude(state__in=FINAL).first()


def active_runs(subject_ids: Collection[int], kind: RunKind) -> dict[int, TrainingRun]:
    """The unfinished runs of this kind by subject, in one query."""
    return {run.subject_id: run for run in TrainingRun.objects.filter(subject_id__in=subject_ids, kind=kind).exclude(state__in=FINAL)}


def unfinished_runs(ids: Collection[str] | None = None) -> list[RunWithTimers]:
    """All unfinished runs, or those with these ids, oldest first, in one query."""
    runs = TrainingRun.objects.exclude(state__in=FINAL)
    if ids is not None:
        runs = runs.filter(pk__in=ids)
    return _with_timers(_with_clock(runs).order_by("queued_at", "run_id"))


def run_with_timers(run_id: str) -> RunWithTimers | None:
    """One run with its timers, finished or not."""
    return next(iter(_with_timers(_with_clock(TrainingRun.objects.filter(pk=run_id)))), None)


def runners_used() -> list[str]:
    """The names of the runners of all runs."""
    return list(TrainingRun.objects.order_by("runner").values_list("runner", flat=True).distinct())


def is_unfinished(spec: Attempt) -> bool:
    """Whether this attempt is the current one and has not ended."""
    return current(spec).exists()


def ended_at_work(spec: Attempt) -> bool:
    """Whether this attempt began and has ended, other than by a cancellation."""
    ended = TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token, started_at__isnull=False)
    return ended.filter(state__in=(RunState.SUCCEEDED, RunState.FAILED)).exists()


def claim_key(spec: Attempt) -> str | None:
    """The key of the process that claimed this attempt. Empty if that process has a release without keys. None if no process did."""
    run = TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token).only("claim_key", "started_at").first()
    if run is None or run.started_at is None:
        return None
    return run.claim_key if report_key.is_of(run.claim_key, spec.attempt) else ""


def unfinished_ids() -> list[str]:
    """The ids of the unfinished runs."""
    return list(TrainingRun.objects.exclude(state__in=FINAL).values_list("pk", flat=True))


def recently_ended(seconds: float) -> list[str]:
    """The ids of the runs that ended less than this time ago, by the clock of the database."""
    return list(TrainingRun.objects.filter(finished_at__gt=time_of_database() - timedelta(seconds=seconds)).values_list("pk", flat=True))


def time_of_database() -> datetime:
    """The present time by the clock of the database. All times of runs are by this clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_TIMESTAMP")
        (now,) = cursor.fetchone()
    # SQLite answers with a text, in UTC.
    return now if isinstance(now, datetime) else datetime.fromisoformat(now).replace(tzinfo=UTC)


def note_outage() -> None:
    """Count silence from now on, because this process does not know whether runs could write until now."""
    OUTAGES.notice()


def is_silent(run_id: str, seconds: int) -> bool:
    """Whether a run wrote no heartbeat for longer than this, by the clock of the database, although it could."""
    timed = run_with_timers(run_id)
    return timed is not None and timed.silent > seconds


def announced_end(spec: Attempt) -> Diagnosis | None:
    """The announced end of this attempt; None if no process announced one."""
    announced = current(spec).exclude(reason="").values_list("reason", "detail").first()
    return None if announced is None else Diagnosis(reason=Reason(announced[0]), summary=announced[1])


def is_decided(run: TrainingRun, announced: Reason | None) -> bool:
    """Whether the announced reason is the end of the whole run.

    A run that its node lost before any work gets another attempt. A training that was ended is not repeated.
    """
    return announced not in RETRYABLE or run.state == RunState.RUNNING


def handle_of(run: TrainingRun) -> RunHandle:
    """The handle of the run, as stored."""
    return RunHandle(host=run.host, name=run.external_name, uid=run.external_uid)


def refusal(label: str, active: TrainingRun) -> str:
    """The cause why a second run of a subject does not start, with the remedy."""
    return (
        f"{label} has an unfinished run {active.run_id} ({active.state} since {active.queued_at:%Y-%m-%d %H:%M} UTC); "
        "wait for its end; if it has terminated, run reconcile_runs --once"
    )


def _with_clock(runs: models.QuerySet[TrainingRun]) -> "models.QuerySet[WithAnnotations[TrainingRun, _Clock]]":
    up_since: models.Expression = models.Value(None, output_field=models.DateTimeField())
    if connection.vendor == "postgresql":
        up_since = models.Func(function="pg_postmaster_start_time", output_field=models.DateTimeField())
    return runs.annotate(clock=Now(), up_since=up_since)


def _with_timers(runs: "models.QuerySet[WithAnnotations[TrainingRun, _Clock]]") -> list[RunWithTimers]:
    with OUTAGES.watching():
        rows = list(runs)
    return [_timed(run) for run in rows]


def _timed(run: "WithAnnotations[TrainingRun, _Clock]") -> RunWithTimers:
    up = _since(run.up_since, run.clock)
    back = min(math.inf if up is None else up, OUTAGES.seconds_since())
    heard = _since(run.heartbeat_at or run.queued_at, run.clock) or 0.0
    return RunWithTimers(
        run=run,
        heard=heard,
        silent=min(heard, back) if back < db_retry.RETURN_GRACE else heard,
        idle=None if run.heartbeat_at is None else _since(run.progress_at, run.heartbeat_at),
        missing=_since(run.missing_since, run.clock),
    )


def _since(begin: datetime | None, now: datetime) -> float | None:
    return None if begin is None else (now - begin).total_seconds()
