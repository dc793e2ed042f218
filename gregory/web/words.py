"""Facts about runs as the pages show them."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gregory.management.concurrent import situation
from gregory.models import PredictionRunLog
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.states import RunState

# The look of a state, by the classes of the style sheet.
LOOKS = {RunState.SUCCEEDED: "good", RunState.FAILED: "bad", RunState.CANCELLED: "off"}
MISSING = "-"


def badge(run: TrainingRun) -> SafeString:
    """The state of a run in words. `data-run` marks an unfinished run for the script."""
    state = RunState(run.state)
    marked = format_html(' data-run="{}"', run.run_id) if not state.is_final else ""
    return format_html('<span class="state {}"{}>{}</span>', LOOKS.get(state, "open"), marked, situation(run))


def row_badge(row: PredictionRunLog, record: AlgorithmRun | None) -> SafeString:
    """The result of a row. An open row tells whether its run is queued, works, is unknown or has ended without it."""
    look, text = _result(row, record)
    return format_html('<span class="state {}">{}</span>', look, text)


def _result(row: PredictionRunLog, record: AlgorithmRun | None) -> tuple[str, str]:
    if row.success is not None:
        reason = record.reason if record else ""
        return ("good", "success") if row.success else ("bad", f"failed: {reason or Reason.ERROR}")
    if record is None:
        return "open", "open, without a run of this program"
    run = record.run
    if RunState(run.state).is_final:
        return "bad", f"lost: its run {run.state}"
    if run.unknown_since:
        return "open", f"unknown since {run.unknown_since:%Y-%m-%d %H:%M} UTC"
    return "open", "queued" if run.state in (RunState.PENDING, RunState.SUBMITTED) else record.stage or "running"


def duration(begin: datetime | None, end: datetime | None) -> str:
    """The time between two times, until now if the second is missing."""
    if begin is None:
        return MISSING
    return seconds(((end or timezone.now()) - begin).total_seconds())


def seconds(number: float) -> str:
    """A number of seconds for people."""
    whole = max(0, round(number))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def mapping(value: object) -> dict[str, Any]:
    """The mapping, empty if it is none. A run writes such values, so they may be anything."""
    return value if isinstance(value, dict) else {}


def figure(value: object) -> str:
    """A metric with three digits."""
    return f"{value:.3f}" if isinstance(value, int | float) else MISSING
