"""The only writer of the run tables and of PredictionRunLog.

Every write that ends something is fenced and guarded: the run's row is locked by an update that demands the caller's
attempt token, then the end is written only where none is. So the first writer wins, a superseded attempt writes
nothing, and what came too late is kept as an event.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models.functions import Now

from gregory.ml.config import Algorithm
from gregory.ml.progress import Progress
from gregory.models import PredictionRunLog
from gregory.runs.models import AlgorithmRun, RunEvent, TrainingRun
from gregory.runs.names import FINAL_STATES, Reason, RunState, new_token
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunHandle, RunSpec

_FINAL = sorted(state.value for state in FINAL_STATES)
# A traceback of megabytes helps nobody; its tail holds the failing frames and the message.
MAXIMUM_ERROR_CHARACTERS = 200_000


class RunRefused(Exception):
    """The run cannot be opened; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What belongs to an algorithm's end but not to GregoryAI's row. Empty `data` and `compute` leave what is known already."""

    evaluation: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)


def open_run(spec: RunSpec, *, runner: str, handle: RunHandle, triggered_by: str) -> RunSpec:
    """Write the rows of one run in one transaction; the spec with its run log ids.

    Raises RunRefused where the subject has an unfinished run, or where a version was taken since it was planned.
    """
    return _alone(spec, lambda: _insert(spec, runner=runner, handle=handle, triggered_by=triggered_by))


def resume(spec: RunSpec, *, handle: RunHandle, triggered_by: str, why: str, next_version: Callable[[Algorithm], str]) -> RunSpec:
    """Open the next attempt of a run whose attempt `spec` has ended, in one transaction; the new attempt's spec.

    A row that is still open goes on in the new attempt. A row that failed stays failed: its algorithm gets a new row under
    the version that `next_version` names. What succeeded is left out. `why` says how the attempt is known to have ended where
    its row does not. Raises RunRefused where another attempt began in the meantime or the subject has another unfinished run.
    """
    return _alone(spec, lambda: _next_attempt(spec, handle, triggered_by, why, next_version))


def refusal(label: str, active: TrainingRun) -> str:
    """Why a second run of a subject does not start, and what to do."""
    return (
        f"{label} has an unfinished run {active.run_id} ({active.state} since {active.queued_at:%Y-%m-%d %H:%M} UTC); "
        "wait for it, or run reconcile_runs --once if it is dead"
    )


def find_run(run_id: str) -> TrainingRun | None:
    """The run of that id, if there is one."""
    return TrainingRun.objects.filter(pk=run_id).first()


def latest_runs_without_success(limit: int) -> list[TrainingRun]:
    """The newest runs that did not succeed, ended or not, newest first."""
    return list(TrainingRun.objects.exclude(state=RunState.SUCCEEDED).order_by("-queued_at", "run_id")[:limit])


def active_run(subject_id: int) -> TrainingRun | None:
    """The unfinished run of a subject, if there is one."""
    return TrainingRun.objects.filter(subject_id=subject_id).exclude(state__in=_FINAL).first()


def unfinished_runs() -> list[TrainingRun]:
    """Every run that has not ended, oldest first."""
    return list(TrainingRun.objects.exclude(state__in=_FINAL).order_by("queued_at", "run_id"))


def runners_used() -> list[str]:
    """The runners of all runs there are."""
    return list(TrainingRun.objects.order_by("runner").values_list("runner", flat=True).distinct())


def mark_submitted(spec: RunSpec, handle: RunHandle) -> bool:
    """The run has been handed to its machine. False where this attempt is no longer the current one."""
    return bool(
        _current(spec)
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


def claim(spec: RunSpec, handle: RunHandle, *, image_digest: str) -> bool:
    """The run has begun in this process. False where the attempt was superseded, ended or already claimed."""
    return bool(
        _current(spec)
        .filter(state__in=[RunState.PENDING, RunState.SUBMITTED])
        .update(
            state=RunState.RUNNING,
            host=handle.host,
            external_name=handle.name,
            external_uid=handle.uid,
            image_digest=image_digest,
            started_at=Now(),
            heartbeat_at=Now(),
        )
    )


def heartbeat(specs: Iterable[RunSpec]) -> None:
    """These runs are alive, by the clock of the database."""
    for spec in specs:
        _current(spec).update(heartbeat_at=Now())


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


def close_algorithm(spec: RunSpec, outcome: AlgorithmOutcome, evidence: Evidence | None = None) -> bool:
    """End one row. False, with an event, where it had ended before or the attempt is not the current one."""
    evidence = evidence or Evidence()
    with transaction.atomic():
        # This update locks the run's row, so that token and end are decided by one writer at a time.
        current = bool(_current(spec).update(heartbeat_at=Now()))
        written = current and bool(
            PredictionRunLog.objects.filter(pk=outcome.run_log_id, success__isnull=True).update(
                success=outcome.success,
                run_finished=Now(),
                error_message=None if outcome.success else storable(outcome.error, MAXIMUM_ERROR_CHARACTERS),
            )
        )
        if not written:
            result = "success" if outcome.success else f"failure: {outcome.error[-500:]}"
            note(spec.run_id, "late report", f"{outcome.algorithm} {outcome.version} of attempt {spec.attempt}: {result}")
            return False
        told = {name: value for name, value in (("data", evidence.data), ("compute", evidence.compute)) if value}
        AlgorithmRun.objects.filter(run_log_id=outcome.run_log_id).update(
            stage="ended",
            reason=outcome.reason or "",
            warnings=list(outcome.warnings),
            metrics=outcome.metrics,
            evaluation=evidence.evaluation,
            resources={**evidence.resources, "seconds": outcome.seconds, "peak_bytes": outcome.peak_bytes},
            artifact_path=outcome.artifact,
            artifact_digest=outcome.digest,
            **told,
        )
    return True


def finish_run(
    spec: RunSpec, state: RunState, *, reason: Reason | None = None, detail: str = "", exit_code: int | None = None, log_tail: str = ""
) -> bool:
    """End the run itself. False where it had ended before or the attempt is not the current one."""
    written = _current(spec).update(
        state=state,
        reason=reason or "",
        detail=storable(detail, MAXIMUM_ERROR_CHARACTERS),
        exit_code=exit_code,
        log_tail=storable(log_tail, MAXIMUM_ERROR_CHARACTERS),
        finished_at=Now(),
    )
    if not written:
        note(spec.run_id, "late end", f"attempt {spec.attempt}: {state} {detail[-500:]}")
    return bool(written)


def end_run(spec: RunSpec, state: RunState, *, reason: Reason, detail: str, exit_code: int | None = None, log_tail: str = "") -> None:
    """End a run that nobody carries out (any more): every open row fails with `detail`, then the run ends."""
    fail_open_rows(spec, reason=reason, error=detail)
    finish_run(spec, state, reason=reason, detail=detail, exit_code=exit_code, log_tail=log_tail)


def fail_open_rows(spec: RunSpec, *, reason: Reason, error: str) -> list[AlgorithmSpec]:
    """What stopped the whole run is the end of every algorithm that has none yet; which those were."""
    # One transaction, so that a caller who tries again after a lost connection is told of all of them.
    with transaction.atomic():
        still_open = open_algorithms(spec)
        return [
            algorithm
            for algorithm in spec.algorithms
            if algorithm.run_log_id in still_open
            and close_algorithm(spec, AlgorithmOutcome(**dict(algorithm), success=False, reason=reason, error=error))
        ]


def is_unfinished(spec: RunSpec) -> bool:
    """Whether the run, in this attempt, has not ended."""
    return _current(spec).exists()


def open_algorithms(spec: RunSpec) -> set[int]:
    """The run log ids of this run whose rows have not ended."""
    ids = [algorithm.run_log_id for algorithm in spec.algorithms]
    return set(PredictionRunLog.objects.filter(pk__in=ids, success__isnull=True).values_list("pk", flat=True))


def successes(spec: RunSpec) -> set[int]:
    """The run log ids of this run whose rows ended in success."""
    ids = [algorithm.run_log_id for algorithm in spec.algorithms]
    return set(PredictionRunLog.objects.filter(pk__in=ids, success=True).values_list("pk", flat=True))


def failure_reason(spec: RunSpec) -> Reason:
    """The reason that all failed rows of this attempt share, or ERROR where they differ."""
    failed = AlgorithmRun.objects.filter(run_log__in=[algorithm.run_log_id for algorithm in spec.algorithms], run_log__success=False)
    reasons = set(failed.order_by().values_list("reason", flat=True))
    return Reason(reasons.pop()) if len(reasons) == 1 and "" not in reasons else Reason.ERROR


def handle_of(run: TrainingRun) -> RunHandle:
    """Where the run is, as far as the ledger was told."""
    return RunHandle(host=run.host, name=run.external_name, uid=run.external_uid)


def is_silent(run_id: str, seconds: int) -> bool:
    """Whether a run's last sign of life is older than this, by the clock of the database."""
    last_sign = models.functions.Coalesce("heartbeat_at", "queued_at")
    silent = TrainingRun.objects.annotate(last_sign=last_sign).filter(pk=run_id, last_sign__lt=Now() - timedelta(seconds=seconds))
    return silent.exists()


def note(run_id: str, kind: str, message: str) -> None:
    """Keep something that happened to a run. A run that is gone (deleted with its subject) has nothing to keep it in."""
    if TrainingRun.objects.filter(pk=run_id).exists():
        RunEvent.objects.create(run_id=run_id, at=Now(), kind=kind, message=storable(message, 10_000))


def storable(text: str, limit: int) -> str:
    """Text as PostgreSQL takes it: no NUL, no lone surrogates; cut at its head, since the end says what happened."""
    text = text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else f"[{len(text) - limit} characters cut]\n{text[-limit:]}"


def _current(spec: RunSpec) -> models.QuerySet[TrainingRun]:
    return TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token).exclude(state__in=_FINAL)


def _insert(spec: RunSpec, *, runner: str, handle: RunHandle, triggered_by: str) -> RunSpec:
    TrainingRun.objects.create(
        run_id=spec.run_id,
        subject_id=spec.subject.id,
        runner=runner,
        attempt=spec.attempt,
        attempt_token=spec.attempt_token,
        spec={},
        host=handle.host,
        external_name=handle.name,
        external_uid=handle.uid,
        queued_at=Now(),
        heartbeat_at=Now(),
    )
    algorithms = tuple(_insert_row(spec, algorithm, position, triggered_by) for position, algorithm in enumerate(spec.algorithms))
    return _store(spec.model_copy(update={"algorithms": algorithms}))


def _next_attempt(spec: RunSpec, handle: RunHandle, triggered_by: str, why: str, next_version: Callable[[Algorithm], str]) -> RunSpec:
    run = TrainingRun.objects.select_for_update().filter(pk=spec.run_id, attempt_token=spec.attempt_token).first()
    if run is None or run.state == RunState.SUCCEEDED:
        raise RunRefused(f"run {spec.run_id} of {spec.label} was resumed or ended by somebody else a moment ago")
    note(spec.run_id, "resumed", _how_it_ended(run, why))
    following = spec.model_copy(update={"attempt": spec.attempt + 1, "attempt_token": new_token()})
    TrainingRun.objects.filter(pk=spec.run_id).update(
        attempt=following.attempt,
        attempt_token=following.attempt_token,
        state=RunState.PENDING,
        reason="",
        detail="",
        host=handle.host,
        external_name=handle.name,
        external_uid=handle.uid,
        image_digest="",
        exit_code=None,
        queued_at=Now(),
        submitted_at=None,
        started_at=None,
        heartbeat_at=Now(),
        finished_at=None,
        log_tail="",
    )
    still_open, succeeded = open_algorithms(spec), successes(spec)
    positions = dict(AlgorithmRun.objects.filter(run_id=spec.run_id).values_list("run_log_id", "position"))
    algorithms = []
    for number, algorithm in enumerate(spec.algorithms):
        if algorithm.run_log_id in still_open:
            algorithms.append(algorithm)
        elif algorithm.run_log_id not in succeeded:
            renewed = algorithm.model_copy(update={"version": next_version(algorithm.algorithm)})
            algorithms.append(_insert_row(following, renewed, positions.get(algorithm.run_log_id, number), triggered_by))
    if not algorithms:
        raise RunRefused(f"run {spec.run_id} of {spec.label} has nothing left to train")
    return _store(following.model_copy(update={"algorithms": tuple(algorithms)}))


def _how_it_ended(run: TrainingRun, why: str) -> str:
    """One attempt's end in words, before the next attempt takes its place in the row."""
    times = (("queued", run.queued_at), ("started", run.started_at), ("finished", run.finished_at))
    when = ", ".join(f"{name} {at:%Y-%m-%d %H:%M:%S} UTC" for name, at in times if at is not None)
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    end = ", ".join(word for word in (run.state, run.reason) if word)
    tail = f"\n{run.log_tail}" if run.log_tail else ""
    return f"attempt {run.attempt} ended: {end}: {run.detail or why} ({when}{code}){tail}"


def _insert_row(spec: RunSpec, algorithm: AlgorithmSpec, position: int, triggered_by: str) -> AlgorithmSpec:
    """One training's row in GregoryAI's table and in ours; the algorithm with its id."""
    rows = PredictionRunLog.objects.filter(subject_id=spec.subject.id, algorithm=algorithm.algorithm, run_type="train")
    if rows.filter(model_version=algorithm.version).exists():
        raise RunRefused(
            f"{spec.label}: version {algorithm.version} of {algorithm.algorithm} was taken a moment ago; run the command again"
        )
    row = PredictionRunLog.objects.create(
        team_id=spec.team.id,
        subject_id=spec.subject.id,
        model_version=algorithm.version,
        algorithm=algorithm.algorithm,
        run_type="train",
        success=None,
        triggered_by=triggered_by[:100],
    )
    AlgorithmRun.objects.create(run_id=spec.run_id, run_log=row, position=position)
    return algorithm.model_copy(update={"run_log_id": row.pk})


def _store(spec: RunSpec) -> RunSpec:
    TrainingRun.objects.filter(pk=spec.run_id).update(spec=spec.model_dump(mode="json"))
    return spec


def _alone(spec: RunSpec, write: Callable[[], RunSpec]) -> RunSpec:
    """Write in one transaction; the constraint of one unfinished run per subject becomes a refusal in words."""
    try:
        with transaction.atomic():
            return write()
    except IntegrityError as error:
        active = active_run(spec.subject.id)
        if active is None or active.run_id == spec.run_id:
            raise
        raise RunRefused(refusal(spec.label, active)) from error
