"""What is noted of a run on its way: handed over, begun, alive, held up, out of sight. No end is written here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now

from gregory.ml.progress import Progress
from gregory.models import PredictionRunLog
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState
from gregory.runs.store.fencing import FINAL, current, record_event, sanitize_text

MAXIMUM_REASON_CHARACTERS = 4_000
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedStatus:
    """What a look at its machine adds to what the ledger knows of an unfinished run.

    known: False where nobody could say anything, and then the rest means nothing. missing: the machine does not have it.
    waiting_for: what holds it up; None where nothing does. node: empty where no machine of a cluster has it.
    """

    known: bool
    missing: bool = False
    waiting_for: str | None = None
    node: str = ""


def mark_submitted(spec: RunSpec, handle: RunHandle) -> bool:
    """The run has been handed to its machine. False where it was before, or where this attempt is no longer the current one."""
    return bool(
        current(spec)
        .filter(state=RunState.PENDING)
        .update(
            state=RunState.SUBMITTED,
            host=handle.host,
            external_name=handle.name,
            external_uid=handle.uid,
            submitted_at=Now(),
            heartbeat_at=Now(),
        )
    )


def claim(spec: RunSpec, handle: RunHandle, *, image_digest: str, node: str = "", again: bool = False) -> bool:
    """The run has begun in this process. False where the attempt was superseded, ended, is being ended or was claimed already.

    again: its machine may start one attempt more than once, each time after the last start has ended, as Kueue does with what it
    had suspended; then the same handle may claim again.
    """
    free = Q(state__in=[RunState.PENDING, RunState.SUBMITTED])
    if again:
        free |= Q(state=RunState.RUNNING, host=handle.host, external_name=handle.name, external_uid=handle.uid)
    return bool(
        current(spec)
        .filter(free, reason="")
        .update(
            state=RunState.RUNNING,
            host=handle.host,
            external_name=handle.name,
            external_uid=handle.uid,
            image_digest=image_digest,
            node=node,
            waiting_for="",
            unknown_since=None,
            missing_since=None,
            started_at=Now(),
            heartbeat_at=Now(),
            progress_at=Now(),
        )
    )


def heartbeat(specs: Iterable[RunSpec], *, progressed: bool = False) -> None:
    """These runs are alive, by the clock of the database; progressed: and a stage has said something new."""
    signs = {"heartbeat_at": Now(), **({"progress_at": Now()} if progressed else {})}
    # A token belongs to one attempt of one run.
    alive = TrainingRun.objects.filter(attempt_token__in=[spec.attempt_token for spec in specs])
    alive.exclude(state__in=FINAL).update(**signs)


def begin_algorithm(spec: RunSpec, run_log_id: int) -> None:
    """Training of this algorithm starts now: GregoryAI's row was written when the run was queued, perhaps hours ago."""
    mine = AlgorithmRun.objects.filter(run_log_id=run_log_id, run_id=spec.run_id, run__attempt_token=spec.attempt_token)
    if mine.update(stage="train"):
        PredictionRunLog.objects.filter(pk=run_log_id, success__isnull=True).update(run_started=Now())


def record_progress(spec: RunSpec, run_log_id: int, *, stage: str, progress: Progress, seconds_left: float | None = None) -> None:
    """What an algorithm is doing; never an end."""
    figures = {
        "message": progress.message,
        "fraction": progress.fraction,
        "epoch": progress.epoch,
        "seconds_left": seconds_left,
        **progress.figures,
    }
    AlgorithmRun.objects.filter(run_log_id=run_log_id, run_id=spec.run_id, run__attempt_token=spec.attempt_token).update(
        stage=stage, progress={key: value for key, value in figures.items() if value is not None}
    )


def announce_end(spec: RunSpec, end: Diagnosis, *, cancelled_by: str = "") -> bool:
    """The run is about to be ended on its machine, for this reason: whoever finds it gone knows why. False where it has ended.

    From here on it cannot be claimed, and a reason that was announced before stays.
    """
    return bool(
        current(spec)
        .filter(reason="")
        .update(reason=end.reason or "", detail=sanitize_text(end.text, MAXIMUM_REASON_CHARACTERS), cancelled_by=cancelled_by[:100])
    )


def record_observation(spec: RunSpec, run: TrainingRun, sighting: ObservedStatus) -> bool:
    """Note what was seen of `run`, as it was read before the look. Nothing is written unless something is new; whether that was so."""
    changes = _changes(run, sighting)
    # A start since then knows more than a look before it. SQLite keeps milliseconds as text, and Python asks with other digits: "58.000"
    # is neither "58" nor before it, but always before the next millisecond, in which nothing starts again.
    no_later_start = Q(started_at__isnull=True) if run.started_at is None else Q(started_at__lt=run.started_at + MILLISECOND)
    written = bool(changes and current(spec).filter(no_later_start, state=run.state).update(**changes))
    if written and "state" in changes:
        record_event(run.run_id, "suspended", f"attempt {spec.attempt} was taken off its machine and waits again: {sighting.waiting_for}")
    return written


def _changes(run: TrainingRun, sighting: ObservedStatus) -> dict[str, Any]:
    if not sighting.known:
        return {} if run.unknown_since else {"unknown_since": Now()}
    changes: dict[str, Any] = {}
    if run.unknown_since:
        changes["unknown_since"] = None
    if sighting.missing != bool(run.missing_since):
        changes["missing_since"] = Now() if sighting.missing else None
    if sighting.node and sighting.node != run.node:
        changes["node"] = sighting.node
    waiting_for = sanitize_text(sighting.waiting_for or "", MAXIMUM_REASON_CHARACTERS)
    if waiting_for != run.waiting_for:
        changes["waiting_for"] = waiting_for
    if sighting.waiting_for is not None and run.state == RunState.RUNNING:
        changes["state"] = RunState.SUBMITTED
    return changes
