"""The timeline of a run: the wait, the stages that its algorithms share, and each algorithm, with time and peak memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from gregory.runs.models import TrainingRun
from gregory.runs.store import SHARED_STAGES, TrainingRecord
from gregory.web import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step. offset, width: percent of the whole time. peak: the largest memory of its processes.

    bar: false for a stage that an earlier attempt finished.
    """

    name: str
    begin: datetime
    offset: float
    width: float
    seconds: str
    peak: str = ""
    bar: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    name: str
    begin: datetime
    end: datetime
    peak: str = ""


def timeline(run: TrainingRun, trainings: list[TrainingRecord]) -> list[Step]:
    """The steps of the present attempt. Empty before it has begun."""
    if run.started_at is None:
        return []
    end = run.finished_at or timezone.now()
    rows = [(one, one.row) for one in trainings if one.row and one.row.run_started >= run.started_at]
    first = min((row.run_started for _, row in rows), default=end)
    shared = _shared(trainings, first)
    earlier = [mark for mark in shared if mark.begin < run.started_at]
    begun = min((mark.begin for mark in shared if mark not in earlier), default=first)
    marks = [
        _Mark(name="waiting", begin=run.queued_at, end=run.started_at),
        _Mark(name="preparation", begin=run.started_at, end=begun),
        *shared,
        *(
            _Mark(name=one.algorithm, begin=row.run_started, end=row.run_finished or end, peak=_peak(words.mapping(one.record.resources)))
            for one, row in rows
        ),
    ]
    whole = max((end - run.queued_at).total_seconds(), 1.0)
    return [
        Step(
            name=mark.name,
            begin=mark.begin,
            offset=round(100 * (mark.begin - run.queued_at).total_seconds() / whole, 2),
            width=round(max(100 * (mark.end - mark.begin).total_seconds() / whole, 0.5), 2),
            seconds=words.duration(mark.begin, mark.end),
            peak=mark.peak,
            bar=mark not in earlier,
        )
        for mark in marks
    ]


def _shared(trainings: list[TrainingRecord], end: datetime) -> list[_Mark]:
    """The stages that all algorithms share. Their durations are known, and the last ends when the first algorithm begins."""
    stages: dict[str, object] = {}
    for one in trainings:
        stages |= words.mapping(words.mapping(one.record.resources).get("stages"))
    marks: list[_Mark] = []
    for name in reversed(SHARED_STAGES):
        usage = words.mapping(stages.get(name))
        seconds = usage.get("seconds")
        if isinstance(seconds, int | float):
            begin = end - timedelta(seconds=min(max(seconds, 0.0), 1e7))
            marks.insert(0, _Mark(name=name, begin=begin, end=end, peak=_peak(usage)))
            end = begin
    return marks


def _peak(resources: Mapping[str, object]) -> str:
    peak = resources.get("peak_bytes")
    return f"{peak / 2**20:,.0f} MiB" if isinstance(peak, int | float) and peak else ""
