"""The ends of rows and runs. Each is written once, by the current attempt or a reconciler, and only if there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from gregory.models import PredictionRunLog
from gregory.output import visible
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, Attempt, Training
from gregory.runs.states import RunState
from gregory.runs.store.fencing import ENDED, PUBLISH, current, record_event, sanitize_text
from gregory.runs.store.trainings import OPEN, failure_reason

# Runs that `end_queued` ends in one transaction.
QUEUED_RUNS = 1_000
# The end of a traceback has the failing frames and the message.
MAXIMUM_ERROR_CHARACTERS = 200_000
# The end of a training that another program ended, in the record of this project.
_OVERRIDDEN = {"stage": ENDED, "reason": Reason.OVERRIDDEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeDetails:
    """The details of an outcome that GregoryAI's row does not have. Empty `data` and `compute` keep the stored values."""

    evaluation: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)


def close_algorithm(spec: Attempt, outcome: AlgorithmOutcome, details: OutcomeDetails | None = None) -> bool:
    """End one row. False, with an event, if it had another end or if another attempt is the current one.

    A repeated call, after a lost answer, finds its own end and returns True.
    """
    return bool(close_algorithms(spec, [(outcome, details or OutcomeDetails())]))


def close_algorithms(spec: Attempt, ends: Sequence[tuple[AlgorithmOutcome, OutcomeDetails]]) -> list[AlgorithmOutcome]:
    """End several rows in one transaction, each as in `close_algorithm`. Returns the outcomes that were written."""
    if not ends:
        return []
    with transaction.atomic():
        # This update changes nothing and locks the run's row, so one writer at a time compares token and end. It is no heartbeat, because
        # the writer may be a reconciler.
        is_current = bool(current(spec).update(heartbeat_at=F("heartbeat_at")))
        return [outcome for outcome, details in ends if _close(spec, outcome, details, is_current=is_current)]


def _close(spec: Attempt, outcome: AlgorithmOutcome, details: OutcomeDetails, *, is_current: bool) -> bool:
    row = PredictionRunLog.objects.filter(pk=outcome.run_log_id)
    record = AlgorithmRun.objects.filter(run_log_id=outcome.run_log_id)
    end = {
        "success": outcome.success,
        "error_message": None if outcome.success else sanitize_text(outcome.error, MAXIMUM_ERROR_CHARACTERS),
    }
    unended = record.exclude(stage=ENDED)
    # GregoryAI's admin may have marked the row as successful before the end of the training.
    writable = row.exclude(success=False) if unended.exists() else row.filter(success__isnull=True)
    written = is_current and bool(writable.update(run_finished=Now(), **end))
    if not written:
        same = row.filter(algorithm_run__reason=outcome.reason or "", algorithm_run__artifact_digest=outcome.digest, **end)
        if is_current and same.exists():
            return True
        result = "success" if outcome.success else f"failure: {outcome.error[-500:]}"
        record_event(spec.run_id, "late report", f"{outcome.algorithm} {outcome.version} of attempt {spec.attempt}: {result}")
        if is_current:
            unended.update(**_OVERRIDDEN)
        return False
    changed = {name: value for name, value in (("data", details.data), ("compute", details.compute)) if value}
    record.update(
        stage=ENDED,
        reason=outcome.reason or "",
        warnings=[visible(warning) for warning in outcome.warnings],
        metrics=outcome.metrics,
        evaluation=details.evaluation,
        resources={**details.resources, "seconds": outcome.seconds, "peak_bytes": outcome.peak_bytes},
        artifact_path=outcome.artifact,
        artifact_digest=outcome.digest,
        **changed,
    )
    return True


@transaction.atomic
def finish_run(spec: Attempt, state: RunState, end: Diagnosis, *, log_tail: str = "") -> bool:
    """End the run itself. False if it had ended before, or if another attempt is the current one."""
    facts = {
        "state": state,
        "reason": end.reason or "",
        "detail": sanitize_text(end.text, MAXIMUM_ERROR_CHARACTERS),
        "exit_code": end.exit_code,
        "log_tail": sanitize_text(log_tail, MAXIMUM_ERROR_CHARACTERS),
    }
    written = current(spec).update(finished_at=Now(), waiting_for="", unknown_since=None, **facts)
    if written:
        unended = AlgorithmRun.objects.filter(run_id=spec.run_id).exclude(stage=ENDED)
        still_open = list(unended.filter(OPEN).values_list("pk", flat=True))
        unended.exclude(pk__in=still_open).update(**_OVERRIDDEN)
    # A repeated call, after a lost answer, finds its own end.
    if not written and not TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token, **facts).exists():
        record_event(spec.run_id, "late end", f"attempt {spec.attempt}: {state} {end.text[-500:]}")
    return bool(written)


def finish_from_rows(spec: Attempt, failed: Sequence[str], end: Diagnosis, *, log_tail: str = "") -> bool:
    """End a run after all its rows, in the state that follows from them. failed: from `unsuccessful`. False as for `finish_run`."""
    if not failed:
        return finish_run(spec, RunState.SUCCEEDED, replace(end, reason=None))
    end = replace(end, reason=failure_reason(spec)).after(f"failed: {', '.join(failed)}")
    return finish_run(spec, RunState.CANCELLED if end.reason is Reason.CANCELLED else RunState.FAILED, end, log_tail=log_tail)


def end_run(spec: Attempt, state: RunState, end: Diagnosis, *, log_tail: str = "") -> bool:
    """End a run that no process executes: every open row fails with the text of `end`, then the run ends. False as for `finish_run`."""
    fail_open_rows(spec, reason=end.reason, error=end.text)
    return finish_run(spec, state, end, log_tail=log_tail)


def end_queued(attempts: Mapping[str, str], state: RunState, end: Diagnosis, *, cancelled_by: str = "") -> int:
    """End runs that were not submitted, with their open rows, in few statements. Returns the number of ended runs.

    attempts: the attempt token by run id. A run without a row, and an attempt that another process submitted, claimed, superseded or
    ended, stays as it is. The model of an open row may have been published by an earlier attempt. Such a run gets an announced end, and a
    reconciler finalizes it. A repeated call does no harm.
    """
    ids, ended = list(attempts), 0
    text = sanitize_text(end.text, MAXIMUM_ERROR_CHARACTERS)
    for begin in range(0, len(ids), QUEUED_RUNS):
        part = ids[begin : begin + QUEUED_RUNS]
        queued = TrainingRun.objects.filter(pk__in=part, attempt_token__in=[attempts[run_id] for run_id in part], state=RunState.PENDING)
        with transaction.atomic():
            # The lock makes a process that claims one of them wait. It then finds the end.
            mine = list(queued.select_for_update().order_by("pk").values_list("pk", flat=True))
            published = AlgorithmRun.objects.filter(OPEN, run_id__in=mine, stage=PUBLISH)
            announced = set(published.values_list("run_id", flat=True))
            if announced:
                TrainingRun.objects.filter(pk__in=announced, reason="").update(
                    reason=end.reason or "", detail=text, cancelled_by=cancelled_by[:100]
                )
            mine = [run_id for run_id in mine if run_id not in announced]
            if not mine:
                continue
            unended = AlgorithmRun.objects.filter(run_id__in=mine)
            open_rows = list(unended.filter(OPEN).values_list("run_log_id", flat=True))
            PredictionRunLog.objects.filter(pk__in=open_rows).update(success=False, run_finished=Now(), error_message=text)
            AlgorithmRun.objects.filter(run_log_id__in=open_rows).update(stage=ENDED, reason=end.reason or "")
            unended.exclude(stage=ENDED).update(**_OVERRIDDEN)
            ended += TrainingRun.objects.filter(pk__in=mine).update(
                state=state,
                reason=end.reason or "",
                detail=text,
                cancelled_by=cancelled_by[:100],
                finished_at=Now(),
                waiting_for="",
                unknown_since=None,
            )
    return ended


def fail_open_rows(spec: Attempt, *, reason: Reason | None, error: str) -> list[Training]:
    """Fail every open row with the end of the whole run. Returns the algorithms of the rows that it closed."""
    # One transaction: a caller that repeats it after a lost connection gets all of them.
    with transaction.atomic():
        ids = [algorithm.run_log_id for algorithm in spec.algorithms]
        # Also the trainings that another program ended: their records get that reason.
        unended = set(AlgorithmRun.objects.filter(run_log_id__in=ids).exclude(stage=ENDED).values_list("run_log_id", flat=True))
        ends = [
            (AlgorithmOutcome(**dict(algorithm), success=False, reason=reason, error=error), OutcomeDetails())
            for algorithm in spec.algorithms
            if algorithm.run_log_id in unended
        ]
        closed = {outcome.run_log_id for outcome in close_algorithms(spec, ends)}
        return [algorithm for algorithm in spec.algorithms if algorithm.run_log_id in closed]
