"""The ends of runs that people should hear of, and which of them were told. A claim keeps two reconcilers from telling both.

A notice is recorded as events of its run: claimed, then sent or failed. A claim without an answer expires, so a message is sent twice at
most if the process that sends it is killed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import Max, Min, Q
from django.db.models.functions import Now

from gregory.models import PredictionRunLog
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.spec import RunKind
from gregory.runs.states import RunState
from gregory.runs.store.fencing import record_event
from gregory.runs.store.measured import RETIRED_DAYS
from gregory.runs.store.queries import time_of_database

# Older ends are not told. So the first pass with notifications is silent about the past.
TOLD_HOURS = 24
TRIES = 5
# Pauses after each failure. A claim expires after the first one.
PAUSE_SECONDS = (120, 300, 900, 3600)
# The event of a gate, and the words in it that mean a refusal.
GATE, REFUSED = "promotion", " was not promoted: "
CLAIMED, SENT, FAILED = "notice claimed", "notice sent", "notice failed"


class Cause(StrEnum):
    """The cause of a notice, and the name of its template."""

    FAILED = "failed"
    REFUSED = "refused"
    NO_SUCCESS = "no_success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message. key: the same for the same end. refusals: what the gate said. last_success: for NO_SUCCESS, None without one."""

    cause: Cause
    run: TrainingRun
    key: str
    at: datetime
    refusals: tuple[str, ...] = ()
    last_success: datetime | None = None


def notices(*, no_success_days: int) -> Iterator[Notice]:
    """The notices of the last TOLD_HOURS, told or not: one per end of a run, and one per last success. no_success_days: 0 for none."""
    now = time_of_database()
    since = now - timedelta(hours=TOLD_HOURS)
    refused: dict[str, list[str]] = {}
    gates = RunEvent.objects.filter(kind=GATE, message__contains=REFUSED, run__finished_at__gt=since)
    for run_id, message in gates.values_list("run_id", "message"):
        refused.setdefault(run_id, []).append(message.partition(": ")[2])
    ended = TrainingRun.objects.filter(Q(state=RunState.FAILED) | Q(pk__in=refused), finished_at__gt=since)
    for run in ended.order_by("finished_at", "run_id"):
        cause = Cause.FAILED if run.state == RunState.FAILED else Cause.REFUSED
        key, refusals = f"end of attempt {run.attempt}", tuple(refused.get(run.run_id, ()))
        yield Notice(cause=cause, run=run, key=key, at=run.finished_at or now, refusals=refusals)
    if no_success_days:
        yield from _without_success(now, timedelta(days=no_success_days))


def _without_success(now: datetime, most: timedelta) -> Iterator[Notice]:
    """Subjects with an attempt in RETIRED_DAYS, whose last success, or without one the first attempt, is older than `most`."""
    rows = PredictionRunLog.objects.filter(run_type=RunKind.TRAIN, success=True)
    successes = dict(rows.order_by().values_list("subject_id").annotate(Max("run_started")))
    runs = TrainingRun.objects.filter(kind=RunKind.TRAIN)
    tried = runs.filter(queued_at__gt=now - timedelta(days=RETIRED_DAYS)).order_by().values_list("subject_id")
    for subject, first in tried.annotate(Min("queued_at")):
        success = successes.get(subject)
        since = success or first
        if now - since > most and (run := runs.filter(subject_id=subject).order_by("-queued_at", "run_id").first()):
            yield Notice(cause=Cause.NO_SUCCESS, run=run, key=f"no success since {since:%Y-%m-%d %H:%M}", at=since, last_success=success)


@transaction.atomic
def claim_notice(notice: Notice, channel: str) -> bool:
    """Whether this process must send the notice through this channel now. Then no other one may for some time."""
    # The lock makes a second reconciler wait. It then finds the claim.
    if not TrainingRun.objects.select_for_update().filter(pk=notice.run.run_id).exists():
        return False
    told = [event for event in _events(notice) if event.message.partition("\n")[0] == _name(notice, channel)]
    tries = sum(event.kind == FAILED for event in told)
    if tries >= TRIES or any(event.kind == SENT for event in told):
        return False
    if told:
        pause = PAUSE_SECONDS[min(tries, len(PAUSE_SECONDS)) - 1 if tries else 0]
        if time_of_database() - told[-1].at < timedelta(seconds=pause):
            return False
    RunEvent.objects.create(run_id=notice.run.run_id, at=Now(), kind=CLAIMED, message=_name(notice, channel))
    return True


def record_notice(notice: Notice, channel: str, *, error: str = "") -> None:
    """Record the answer of a channel: sent, or the error."""
    record_event(notice.run.run_id, FAILED if error else SENT, "\n".join(filter(None, (_name(notice, channel), error))))


def _events(notice: Notice) -> list[RunEvent]:
    """The events about notices of this run; about a missing success those of the subject, whose newest run changes."""
    events = RunEvent.objects.filter(kind__in=(CLAIMED, SENT, FAILED))
    if notice.cause is Cause.NO_SUCCESS:
        return list(events.filter(run__subject_id=notice.run.subject_id).order_by("pk"))
    return list(events.filter(run_id=notice.run.run_id).order_by("pk"))


def _name(notice: Notice, channel: str) -> str:
    return f"{channel}: {notice.key}"
