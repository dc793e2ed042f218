"""The ends of rows and runs: each written once, by whoever holds the attempt, and only where there is none yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from gregory.models import PredictionRunLog
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunSpec
from gregory.runs.states import RunState
from gregory.runs.store.fencing import current, record_event, sanitize_text
from gregory.runs.store.queries import failure_reason, open_algorithms

# A traceback of megabytes helps nobody; its tail holds the failing frames and the message.
MAXIMUM_ERROR_CHARACTERS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeDetails:
    """What belongs to an algorithm's end but not to GregoryAI's row. Empty `data` and `compute` leave what is known already."""

    evaluation: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    compute: dict[str, Any] = field(default_factory=dict)


def close_algorithm(spec: RunSpec, outcome: AlgorithmOutcome, evidence: OutcomeDetails | None = None) -> bool:
    """End one row. False, with an event, where it had ended before or the attempt is not the current one."""
    return bool(close_algorithms(spec, [(outcome, evidence or OutcomeDetails())]))


def close_algorithms(spec: RunSpec, ends: Sequence[tuple[AlgorithmOutcome, OutcomeDetails]]) -> list[AlgorithmOutcome]:
    """End several rows in one transaction; those that were, as for `close_algorithm`."""
    if not ends:
        return []
    with transaction.atomic():
        # This update locks the run's row, so that token and end are decided by one writer at a time.
        is_current = bool(current(spec).update(heartbeat_at=Now()))
        return [outcome for outcome, evidence in ends if _close(spec, outcome, evidence, is_current=is_current)]


def _close(spec: RunSpec, outcome: AlgorithmOutcome, evidence: OutcomeDetails, *, is_current: bool) -> bool:
    written = is_current and bool(
        PredictionRunLog.objects.filter(pk=outcome.run_log_id, success__isnull=True).update(
            success=outcome.success,
            run_finished=Now(),
            error_message=None if outcome.success else sanitize_text(outcome.error, MAXIMUM_ERROR_CHARACTERS),
        )
    )
    if not written:
        result = "success" if outcome.success else f"failure: {outcome.error[-500:]}"
        record_event(spec.run_id, "late report", f"{outcome.algorithm} {outcome.version} of attempt {spec.attempt}: {result}")
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


def finish_run(spec: RunSpec, state: RunState, end: Diagnosis, *, log_tail: str = "") -> bool:
    """End the run itself. False if it had ended before, or if another attempt is the current one."""
    written = current(spec).update(
        state=state,
        reason=end.reason or "",
        detail=sanitize_text(end.text, MAXIMUM_ERROR_CHARACTERS),
        exit_code=end.exit_code,
        log_tail=sanitize_text(log_tail, MAXIMUM_ERROR_CHARACTERS),
        finished_at=Now(),
        waiting_for="",
        unknown_since=None,
    )
    if not written:
        record_event(spec.run_id, "late end", f"attempt {spec.attempt}: {state} {end.text[-500:]}")
    return bool(written)


def finish_from_rows(spec: RunSpec, failed: Sequence[str], end: Diagnosis, *, log_tail: str = "") -> bool:
    """End a run whose rows have all ended, in the state that follows from them. failed: from `unsuccessful`. False as for `finish_run`."""
    if not failed:
        return finish_run(spec, RunState.SUCCEEDED, replace(end, reason=None))
    end = replace(end, reason=failure_reason(spec)).after(f"failed: {', '.join(failed)}")
    return finish_run(spec, RunState.FAILED, end, log_tail=log_tail)


def end_run(spec: RunSpec, state: RunState, end: Diagnosis, *, log_tail: str = "") -> bool:
    """End a run that no process executes: every open row fails with the text of `end`, then the run ends. False as for `finish_run`."""
    fail_open_rows(spec, reason=end.reason, error=end.text)
    return finish_run(spec, state, end, log_tail=log_tail)


def fail_open_rows(spec: RunSpec, *, reason: Reason | None, error: str) -> list[AlgorithmSpec]:
    """What stopped the whole run is the end of every algorithm that has none yet; which those were."""
    # One transaction, so that a caller who tries again after a lost connection is told of all of them.
    with transaction.atomic():
        still_open = open_algorithms(spec)
        ends = [
            (AlgorithmOutcome(**dict(algorithm), success=False, reason=reason, error=error), OutcomeDetails())
            for algorithm in spec.algorithms
            if algorithm.run_log_id in still_open
        ]
        closed = {outcome.run_log_id for outcome in close_algorithms(spec, ends)}
        return [algorithm for algorithm in spec.algorithms if algorithm.run_log_id in closed]
