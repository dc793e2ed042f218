"""The writes during a run: submission, claim, heartbeat, progress, observations, announced end. No end is written here."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest, Least, Now

from gregory.ml.progress import Progress
from gregory.models import PredictionRunLog
from gregory.output import visible
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.spec import Attempt, RunHandle, RunSpec
from gregory.runs.states import RunState
from gregory.runs.store.fencing import ENDED, FINAL, PUBLISH, current, record_event, sanitize_text

MAXIMUM_REASON_CHARACTERS = 4_000
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedStatus:
    """The part of an observation that the run store keeps of an unfinished run.

    known: False if the runner could not observe the run. Then the other fields mean nothing. missing: the back end does not have it.
    waiting_for: the cause for which it waits, None if it does not wait. node: empty if no node of a cluster has it.
    """

    known: bool
    missing: bool = False
    waiting_for: str | None = None
    node: str = ""


@transaction.atomic
def mark_submitted(spec: Attempt, handle: RunHandle) -> bool:
    """Record the submission. False if it was recorded before, or if another attempt is the current one."""
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
            waiting_for="",
            unknown_since=None,
        )
    )


@transaction.atomic
def record_delay(spec: Attempt, cause: str, *, refused: bool) -> float:
    """Record the cause for which a queued run is not submitted yet. Returns the seconds since its back end first refused it.

    refused: by the permissions of the account. The answer 0 means that the last answer was no such refusal.
    """
    queued = current(spec).filter(state=RunState.PENDING, reason="")
    queued.update(
        waiting_for=sanitize_text(cause, MAXIMUM_REASON_CHARACTERS),
        unknown_since=Coalesce("unknown_since", Now()) if refused else None,
    )
    since = queued.annotate(clock=Now()).values_list("unknown_since", "clock").first()
    return 0.0 if since is None or since[0] is None else (since[1] - since[0]).total_seconds()


@transaction.atomic
def claim(spec: Attempt, handle: RunHandle, *, image_digest: str, key: str = "", node: str = "", again: bool = False) -> bool:
    """Record that the run has begun in this process. False if the attempt was superseded, ended, claimed, or its end was announced.

    key: the secret of this process, from `report_key`. A claim with the stored key is the same claim, whose answer was lost.
    again: the same handle may claim again. A back end may start one attempt several times, each time after the last process has ended.
    Kueue does so with a Job that it suspended.
    """
    free = Q(state__in=[RunState.PENDING, RunState.SUBMITTED])
    if key:
        free |= Q(state=RunState.RUNNING, claim_key=key)
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
            claim_key=key,
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


@transaction.atomic
def heartbeat(specs: Iterable[Attempt], *, idle: float | None = None) -> None:
    """Record the time at which these runs live, by the clock of the database.

    idle: the seconds since the last new message of a stage, by the clock of the run. So the first heartbeat after an outage corrects the
    stored time. A stored time that is later stays, because an earlier process of the attempt may still write.
    """
    signs: dict[str, Any] = {"heartbeat_at": Now()}
    if idle is not None:
        message = ExpressionWrapper(Now() - timedelta(seconds=idle), output_field=DateTimeField())
        # A clock that was set back must not leave a time in the future.
        signs["progress_at"] = Least(Greatest("progress_at", message), Now())
    # A token identifies one attempt of one run.
    alive = TrainingRun.objects.filter(attempt_token__in=[spec.attempt_token for spec in specs])
    alive.exclude(state__in=FINAL).update(**signs)


@transaction.atomic
def begin_algorithm(spec: RunSpec, run_log_id: int) -> None:
    """Record the start of the work on one algorithm. The row of GregoryAI has had the time of the queueing, which may be hours earlier."""
    if _unended(spec, run_log_id).update(stage=spec.work):
        PredictionRunLog.objects.filter(pk=run_log_id, success__isnull=True).update(run_started=Now())


@transaction.atomic
def begin_publishing(spec: Attempt, run_log_id: int) -> None:
    """Record that the model of one training is about to get its version folder. From then on the folder may exist before the row ends."""
    _unended(spec, run_log_id).update(stage=PUBLISH)


@transaction.atomic
def record_progress(spec: Attempt, run_log_id: int, *, stage: str, progress: Progress, seconds_left: float | None = None) -> None:
    """Record the progress of one training. A model that is being published makes no more progress."""
    figures = {
        "message": visible(progress.message),
        "fraction": progress.fraction,
        "epoch": progress.epoch,
        "seconds_left": seconds_left,
        **progress.figures,
    }
    _unended(spec, run_log_id).exclude(stage=PUBLISH).update(
        stage=stage, progress={key: value for key, value in figures.items() if value is not None}
    )


@transaction.atomic
def announce_end(spec: Attempt, end: Diagnosis, *, cancelled_by: str = "", decided_on: TrainingRun | None = None) -> bool:
    """Store the reason before the back end is asked to end the run, so every reconciler that misses the run has it. False if it ended.

    From then on the run cannot be claimed. An end that was announced before stays. decided_on: the row from which the end follows. The
    end is not announced if the run has been submitted, begun or moved since, or has a later message than its last heartbeat then. A
    heartbeat alone changes nothing: a stage that hangs has one every 15 s.
    """
    runs = current(spec).filter(reason="")
    if decided_on is not None:
        runs = runs.filter(
            _no_later("started_at", decided_on.started_at),
            Q(progress_at__isnull=True) | _no_later("progress_at", decided_on.heartbeat_at),
            state=decided_on.state,
            host=decided_on.host,
            external_name=decided_on.external_name,
            external_uid=decided_on.external_uid,
        )
    text = sanitize_text(end.text, MAXIMUM_REASON_CHARACTERS)
    return bool(runs.update(reason=end.reason or "", detail=text, cancelled_by=cancelled_by[:100]))


def record_observation(run: TrainingRun, observed: ObservedStatus) -> bool:
    """Write the changes of an observation. True if there was one. run: as it was read before the observation."""
    changes = _changes(run, observed)
    if not changes:
        return False
    with transaction.atomic():
        written = bool(_unmoved([run]).update(**changes))
        if written and "state" in changes:
            record_event(
                run.run_id, "suspended", f"attempt {run.attempt} was suspended by its back end and waits again: {observed.waiting_for}"
            )
    return written


def record_observations(seen: Iterable[tuple[TrainingRun, ObservedStatus]]) -> dict[str, bool]:
    """The same for many runs, by run id, with two statements for all equal changes.

    Runs whose change is rare are left out, and need `record_observation`. A row that another client holds is left to the next pass.
    """
    recorded: dict[str, bool] = {}
    groups: dict[tuple[str, datetime | None, tuple[tuple[str, Any], ...]], list[TrainingRun]] = defaultdict(list)
    for run, observed in seen:
        changes = _changes(run, observed)
        if not changes:
            recorded[run.run_id] = False
        elif "state" not in changes:
            groups[run.state, run.started_at, tuple(changes.items())].append(run)
    for (_, _, equal), runs in groups.items():
        if len(runs) == 1:
            continue
        with transaction.atomic():
            held = set(_unmoved(runs).order_by("pk").select_for_update(skip_locked=True).values_list("pk", flat=True))
            _unmoved([run for run in runs if run.run_id in held]).update(**dict(equal))
        recorded |= {run.run_id: run.run_id in held for run in runs}
    return recorded


def _unmoved(runs: Sequence[TrainingRun]) -> QuerySet[TrainingRun]:
    """The rows that are as these runs were read: of the same attempt and state, with no later start. All have one state and one start.

    An observation is older than a later start of the run, and must not overwrite it.
    """
    if not runs:
        return TrainingRun.objects.none()
    # A token identifies one attempt of one run.
    same = TrainingRun.objects.filter(pk__in=[run.run_id for run in runs], attempt_token__in=[run.attempt_token for run in runs])
    return same.exclude(state__in=FINAL).filter(_no_later("started_at", runs[0].started_at), state=runs[0].state)


def _unended(spec: Attempt, run_log_id: int) -> QuerySet[AlgorithmRun]:
    """The record of a training of this attempt, if the attempt is the current one. No record with an end: a heartbeat may come late."""
    # A subquery and no join: after a wait for the row, PostgreSQL compares only its own columns again.
    run = TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token)
    return AlgorithmRun.objects.filter(run_log_id=run_log_id, run__in=run).exclude(stage=ENDED)


def _no_later(name: str, time: datetime | None) -> Q:
    """The stored time is this one or an earlier one; with None, there is none.

    The comparison allows one millisecond, because SQLite stores "58.000" for a time that Python sends as "58", and the two texts differ.
    """
    return Q(**{f"{name}__isnull": True}) if time is None else Q(**{f"{name}__lt": time + MILLISECOND})


def _changes(run: TrainingRun, observed: ObservedStatus) -> dict[str, Any]:
    if not observed.known:
        return {} if run.unknown_since else {"unknown_since": Now()}
    changes: dict[str, Any] = {}
    if run.unknown_since:
        changes["unknown_since"] = None
    if observed.missing != bool(run.missing_since):
        changes["missing_since"] = Now() if observed.missing else None
    if observed.node and observed.node != run.node:
        changes["node"] = observed.node
    waiting_for = sanitize_text(observed.waiting_for or "", MAXIMUM_REASON_CHARACTERS)
    if waiting_for != run.waiting_for:
        changes["waiting_for"] = waiting_for
    # A node reports the start of a container later than the run claims its row.
    if observed.waiting_for is not None and not observed.node and run.state == RunState.RUNNING:
        changes["state"] = RunState.SUBMITTED
    return changes
