"""What the ledger answers. Nothing is written here; what depends on time is asked of the database's clock."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from django.db import connection, models
from django.db.models.functions import Now

from gregory.models import PredictionRunLog
from gregory.runs import db_retry
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmSpec, RunHandle, RunSpec
from gregory.runs.states import RunState
from gregory.runs.store.fencing import FINAL, current

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations


class _Clock(TypedDict):
    """The time of the database, read with a row, and since when it has been up, where it says so."""

    clock: datetime
    up_since: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWithTimers:
    """A run, and for how long things have been so, in seconds by the clock of the database.

    silent: since its last sign of life. idle: since a stage last reported something new, None where none has begun.
    missing: since its machine first did not have it, None where it has.
    While nobody could write there was no sign to be had: just after a restart of the server, silent and idle count from that.
    """

    run: TrainingRun
    silent: float
    idle: float | None
    missing: float | None


def find_run(run_id: str) -> TrainingRun | None:
    """The run of that id, if there is one."""
    return TrainingRun.objects.filter(pk=run_id).first()


def find_runs(ids: Collection[str]) -> dict[str, TrainingRun]:
    """Those of the runs with these ids that there are, in one query."""
    return TrainingRun.objects.in_bulk(ids)


def latest_runs_without_success(limit: int) -> list[TrainingRun]:
    """The newest runs that did not succeed, ended or not, newest first."""
    return list(TrainingRun.objects.exclude(state=RunState.SUCCEEDED).order_by("-queued_at", "run_id")[:limit])


def listed_runs(*, team: str | None, subject: str | None, state: RunState | None, limit: int) -> list[TrainingRun]:
    """Runs for people: those that have not ended first, each part newest first."""
    wanted = {"subject__team__slug": team, "subject__subject_slug": subject, "state": state}
    runs = TrainingRun.objects.filter(**{field: value for field, value in wanted.items() if value is not None})
    ended = models.Case(models.When(state__in=FINAL, then=models.Value(1)), default=models.Value(0))
    return list(runs.order_by(ended, "-queued_at", "run_id")[:limit])


def active_run(subject_id: int) -> TrainingRun | None:
    """The unfinished run of a subject, if there is one."""
    return TrainingRun.objects.filter(subject_id=subject_id).exclude(state__in=FINAL).first()


def active_runs(subject_ids: Collection[int]) -> dict[int, TrainingRun]:
    """The unfinished runs of these subjects by subject, in one query."""
    return {run.subject_id: run for run in TrainingRun.objects.filter(subject_id__in=subject_ids).exclude(state__in=FINAL)}


def unfinished_runs(ids: Collection[str] | None = None) -> list[RunWithTimers]:
    """Every run that has not ended, or those of them with these ids, oldest first, in one query."""
    runs = TrainingRun.objects.exclude(state__in=FINAL)
    if ids is not None:
        runs = runs.filter(pk__in=ids)
    return [_standing(run) for run in _with_clock(runs).order_by("queued_at", "run_id")]


def run_with_timers(run_id: str) -> RunWithTimers | None:
    """The same of one run, whether it has ended or not."""
    return next(map(_standing, _with_clock(TrainingRun.objects.filter(pk=run_id))), None)


def runners_used() -> list[str]:
    """The runners of all runs there are."""
    return list(TrainingRun.objects.order_by("runner").values_list("runner", flat=True).distinct())


def is_unfinished(spec: RunSpec) -> bool:
    """Whether the run, in this attempt, has not ended."""
    return current(spec).exists()


def is_silent(run_id: str, seconds: int) -> bool:
    """Whether a run's last sign of life is older than this, by the clock of the database."""
    standing = run_with_timers(run_id)
    return standing is not None and standing.silent > seconds


def announced_end(spec: RunSpec) -> Diagnosis | None:
    """The announced end of this attempt; None if no process announced one."""
    announced = current(spec).exclude(reason="").values_list("reason", "detail").first()
    return None if announced is None else Diagnosis(reason=Reason(announced[0]), summary=announced[1])


def open_algorithms(spec: RunSpec) -> set[int]:
    """The run log ids of this attempt whose rows have not ended."""
    ids = [algorithm.run_log_id for algorithm in spec.algorithms]
    return set(PredictionRunLog.objects.filter(pk__in=ids, success__isnull=True).values_list("pk", flat=True))


def successes(spec: RunSpec) -> set[int]:
    """The run log ids of this attempt whose rows ended in success."""
    ids = [algorithm.run_log_id for algorithm in spec.algorithms]
    return set(PredictionRunLog.objects.filter(pk__in=ids, success=True).values_list("pk", flat=True))


def newest_rows(run_id: str) -> dict[int, AlgorithmRun]:
    """Per algorithm, by its place in the run, the row that counts: an algorithm that was tried again has another one."""
    facts = ("run_id", "position", "reason", "run_log__algorithm", "run_log__model_version", "run_log__success")
    # Without evaluations and the like, which are long, and read by nobody who asks here.
    rows = AlgorithmRun.objects.filter(run_id=run_id).select_related("run_log").only(*facts).order_by("position", "pk")
    return {row.position: row for row in rows}


def unsuccessful(spec: RunSpec) -> list[str]:
    """The algorithms of the run that have not succeeded, of this attempt or, where it was left out since, of an earlier one."""
    rows = newest_rows(spec.run_id).values()
    # A row that GregoryAI has deleted under the run cannot say success.
    gone = {algorithm.run_log_id: algorithm.algorithm for algorithm in spec.algorithms}
    for row in rows:
        gone.pop(row.run_log_id, None)
    return [*(row.run_log.algorithm or "" for row in rows if row.run_log.success is not True), *gone.values()]


def failure_reason(spec: RunSpec) -> Reason:
    """The reason that all failed algorithms of the run share, or ERROR where they differ."""
    reasons = {row.reason for row in newest_rows(spec.run_id).values() if row.run_log.success is False}
    return Reason(reasons.pop()) if len(reasons) == 1 and "" not in reasons else Reason.ERROR


def handle_of(run: TrainingRun) -> RunHandle:
    """Where the run is, as far as the ledger was told."""
    return RunHandle(host=run.host, name=run.external_name, uid=run.external_uid)


def in_training(spec: RunSpec) -> list[AlgorithmSpec]:
    """The algorithms of this attempt that were being trained when it was last heard of: one at most, unless a row was lost."""
    ids = [algorithm.run_log_id for algorithm in spec.algorithms]
    begun = AlgorithmRun.objects.filter(run_log_id__in=ids, stage="train", run_log__success__isnull=True)
    training = set(begun.values_list("run_log_id", flat=True))
    return [algorithm for algorithm in spec.algorithms if algorithm.run_log_id in training]


def refusal(label: str, active: TrainingRun) -> str:
    """Why a second run of a subject does not start, and what to do."""
    return (
        f"{label} has an unfinished run {active.run_id} ({active.state} since {active.queued_at:%Y-%m-%d %H:%M} UTC); "
        "wait for it, or run reconcile_runs --once if it is dead"
    )


def _with_clock(runs: models.QuerySet[TrainingRun]) -> "models.QuerySet[WithAnnotations[TrainingRun, _Clock]]":
    up_since: models.Expression = models.Value(None, output_field=models.DateTimeField())
    if connection.vendor == "postgresql":
        up_since = models.Func(function="pg_postmaster_start_time", output_field=models.DateTimeField())
    return runs.annotate(clock=Now(), up_since=up_since)


def _standing(run: "WithAnnotations[TrainingRun, _Clock]") -> RunWithTimers:
    up = _since(run.up_since, run.clock)
    most = up if up is not None and up < db_retry.RESTART_GRACE else math.inf
    idle = _since(run.progress_at, run.clock)
    return RunWithTimers(
        run=run,
        silent=min(_since(run.heartbeat_at or run.queued_at, run.clock) or 0.0, most),
        idle=None if idle is None else min(idle, most),
        missing=_since(run.missing_since, run.clock),
    )


def _since(begin: datetime | None, now: datetime) -> float | None:
    return None if begin is None else (now - begin).total_seconds()
