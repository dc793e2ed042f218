"""The figures of the installation for monitoring: counts, waits, durations and last successes, in a fixed number of queries."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Coalesce

from gregory.models import PredictionRunLog
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.states import RunState
from gregory.runs.store.fencing import FINAL
from gregory.runs.store.queries import time_of_database

# Durations are those of the runs that ended in this time, and of the newest ones only.
RECENT_DAYS, RECENT_RUNS = 7, 1_000
# Subjects without an attempt in this time are retired.
RETIRED_DAYS = 90
# The most combinations of team, subject, algorithm and kind.
MOST_SUBJECTS = 5_000
# Stages that all algorithms of a run share.
SHARED_STAGES = ("summarise", "pseudo_label")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCount:
    """The number of runs of one kind in one state with one reason. reason: empty without one."""

    kind: str
    state: str
    reason: str
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSuccess:
    """The last success of one algorithm of a subject. success: None without one. first: the oldest attempt in the database."""

    team: str
    subject: str
    algorithm: str
    kind: str
    success: datetime | None
    first: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """The figures at one moment, in seconds.

    oldest: the age of the oldest queued run by its state. silence: the longest time since the last heartbeat of a running run.
    queue: kind -> the times from queueing to the claim. stages: (kind, stage, algorithm) -> durations. algorithm: empty for a shared stage.
    left_out: the number of combinations beyond MOST_SUBJECTS, those with the newest successes.
    """

    counts: tuple[RunCount, ...]
    unknown: int
    oldest: dict[str, float]
    silence: float
    queue: dict[str, tuple[float, ...]]
    stages: dict[tuple[str, str, str], tuple[float, ...]]
    successes: tuple[LastSuccess, ...]
    left_out: int


def measure() -> Measurements:
    """The present figures, in six queries, or seven with more than MOST_SUBJECTS combinations."""
    now = time_of_database()
    unfinished = list(
        TrainingRun.objects.exclude(state__in=FINAL).values_list(
            "state", "queued_at", "submitted_at", "started_at", "heartbeat_at", "unknown_since"
        )
    )
    queued = [(state, submitted if state == RunState.SUBMITTED else at) for state, at, submitted, *_ in unfinished]
    heard = [at or started for state, _, _, started, at, _ in unfinished if state == RunState.RUNNING]
    successes, left_out = _successes(now)
    return Measurements(
        counts=_counts(),
        unknown=sum(since is not None for *_, since in unfinished),
        oldest={
            state.value: max((_seconds(at, now) for found, at in queued if found == state), default=0.0)
            for state in (RunState.PENDING, RunState.SUBMITTED)
        },
        silence=max((_seconds(at, now) for at in heard), default=0.0),
        queue=_queue_times(now),
        stages=_stage_times(now),
        successes=successes,
        left_out=left_out,
    )


def _counts() -> tuple[RunCount, ...]:
    found = TrainingRun.objects.order_by("kind", "state", "reason").values_list("kind", "state", "reason").annotate(Count("pk"))
    return tuple(RunCount(kind=kind, state=state, reason=reason, runs=runs) for kind, state, reason, runs in found)


def _recent(now: datetime) -> QuerySet[TrainingRun]:
    ended = TrainingRun.objects.filter(finished_at__gt=now - timedelta(days=RECENT_DAYS))
    return ended.order_by("-finished_at", "run_id")


def _queue_times(now: datetime) -> dict[str, tuple[float, ...]]:
    begun = _recent(now).filter(started_at__isnull=False).values_list("kind", "queued_at", "started_at")[:RECENT_RUNS]
    return _grouped((kind, _seconds(queued, started)) for kind, queued, started in begun if started is not None)


def _stage_times(now: datetime) -> dict[tuple[str, str, str], tuple[float, ...]]:
    """Of each training the seconds of its own stage, and of each run those of the shared stages."""
    runs = dict(_recent(now).values_list("pk", "kind")[:RECENT_RUNS])
    records = AlgorithmRun.objects.filter(run_id__in=runs).order_by("run_id", "position", "pk")
    shared: dict[tuple[str, str], float] = {}
    own: list[tuple[tuple[str, str, str], float]] = []
    for run_id, algorithm, resources in records.values_list("run_id", "run_log__algorithm", "resources"):
        if seconds := _stored(resources, "seconds"):
            own.append(((runs[run_id], runs[run_id], algorithm or ""), seconds))
        times = {stage: _stored(resources, "stages", stage, "seconds") for stage in SHARED_STAGES}
        shared |= {(run_id, stage): seconds for stage, seconds in times.items() if seconds is not None}
    together = (((runs[run_id], stage, ""), seconds) for (run_id, stage), seconds in shared.items())
    return _grouped([*own, *together])


def _stored(value: object, *path: str) -> float | None:
    """The number at a place of a stored value. A run writes it, so it may be anything."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _successes(now: datetime) -> tuple[tuple[LastSuccess, ...], int]:
    """The combinations with the oldest successes first, and the number of those beyond the limit."""
    rows = PredictionRunLog.objects.values_list("team__slug", "subject__subject_slug", "algorithm", "run_type").annotate(
        success=Max(Coalesce("run_finished", "run_started"), filter=Q(success=True)),
        first=Min("run_started"),
        newest=Max("run_started"),
    )
    tried = rows.filter(newest__gt=now - timedelta(days=RETIRED_DAYS))
    found = list(tried.order_by(Coalesce("success", "first"), "team__slug", "subject__subject_slug", "algorithm")[: MOST_SUBJECTS + 1])
    successes = tuple(
        LastSuccess(team=team, subject=subject, algorithm=algorithm or "", kind=kind, success=success, first=first)
        for team, subject, algorithm, kind, success, first, _ in found[:MOST_SUBJECTS]
    )
    return successes, tried.count() - MOST_SUBJECTS if len(found) > MOST_SUBJECTS else 0


def _grouped(pairs: Iterable[tuple[Any, float]]) -> dict[Any, tuple[float, ...]]:
    groups: dict[Any, list[float]] = {}
    for key, seconds in pairs:
        groups.setdefault(key, []).append(seconds)
    return {key: tuple(values) for key, values in groups.items()}


def _seconds(begin: datetime | None, end: datetime) -> float:
    # The clock of another connection may be a little later.
    return 0.0 if begin is None else max(0.0, (end - begin).total_seconds())
