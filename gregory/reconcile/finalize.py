"""A dead run: its last words become rows, and what is open after that is closed, or goes on in another attempt."""

from pathlib import Path

from gregory.launch.runner import Runner
from gregory.reconcile.decide import REPORT_TAKES_PRECEDENCE, RETRYABLE, Decision, RetryPolicy, retry_policy
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.reconcile.submit import submit_run
from gregory.runs import recovery, store
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunSpec
from gregory.runs.states import RunState


def finalize_dead_run(
    run: TrainingRun, spec: RunSpec, verdict: Decision, runner: Runner, *, report: str, models_dir: Path
) -> ReconcileResult:
    """What became of it. `verdict` has a reason; `report`: what the run left of its end on its machine."""
    if not store.is_unfinished(spec):
        return _too_late(run)
    gave_up = recovery.replay(spec, report, models_dir=models_dir)
    still_open = recovery.close_published(spec, models_dir=models_dir)
    if not still_open:
        return _settle(run, spec, verdict, runner)
    reason, detail = verdict.reason or Reason.LOST, verdict.detail
    if gave_up and reason in REPORT_TAKES_PRECEDENCE:
        reason, detail = Reason.INTERRUPTED, f"{gave_up}; {detail}"
    training = store.in_training(spec)
    following = retry_policy(
        reason,
        durable=runner.durable,
        retries=run.retries,
        max_attempts=runner.max_attempts,
        in_training=len(training),
        still_open=len(still_open),
    )
    if following is RetryPolicy.CLOSE:
        if runner.max_attempts > 1 and reason in RETRYABLE:
            detail = f"{detail}; it was tried {run.retries + 1} times, which is all that is allowed"
        return _close(run, spec, Decision(action=verdict.action, reason=reason, detail=detail, exit_code=verdict.exit_code), runner)
    without = training if following is RetryPolicy.WITHOUT else []
    closed = [AlgorithmOutcome(**dict(algorithm), success=False, reason=reason, error=detail) for algorithm in without]
    try:
        attempt = store.retry(
            spec,
            handle=runner.owner_handle(),
            why=f"{reason}: {detail}",
            counts=following is RetryPolicy.AGAIN,
            without=closed,
            log_tail=runner.log_tail(spec),
        )
    except store.RunRefused as refused:
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail=str(refused))
    handed = submit_run(attempt, runner)
    words = f"attempt {attempt.attempt} with {', '.join(algorithm.algorithm for algorithm in attempt.algorithms)}: {handed.detail}"
    return ReconcileResult(run=run, action=ResultKind.TRIED_AGAIN, reason=reason, detail=f"{detail}; {words}")


def _settle(run: TrainingRun, spec: RunSpec, verdict: Decision, runner: Runner) -> ReconcileResult:
    """Every row has its end; the run takes its own from them."""
    failed = store.unsuccessful(spec)
    detail = verdict.detail if failed else f"every model was complete; {verdict.detail}"
    # Nobody looks into the log of a success, and of many at once each would be two calls.
    tail = runner.log_tail(spec) if failed else ""
    if not store.finish_from_rows(spec, failed, detail=detail, exit_code=verdict.exit_code, log_tail=tail):
        return _too_late(run)
    if not failed:
        return ReconcileResult(run=run, action=ResultKind.SUCCEEDED, detail=detail)
    return ReconcileResult(run=run, action=ResultKind.CLOSED, reason=verdict.reason, detail=detail)


def _close(run: TrainingRun, spec: RunSpec, verdict: Decision, runner: Runner) -> ReconcileResult:
    reason = verdict.reason or Reason.LOST
    state = RunState.CANCELLED if reason is Reason.CANCELLED else RunState.FAILED
    tail = runner.log_tail(spec)
    if not store.end_run(spec, state, reason=reason, detail=verdict.detail, exit_code=verdict.exit_code, log_tail=tail):
        return _too_late(run)
    return ReconcileResult(run=run, action=ResultKind.CLOSED, reason=reason, detail=verdict.detail)


def _too_late(run: TrainingRun) -> ReconcileResult:
    return ReconcileResult(run=run, action=ResultKind.LEFT, detail="it was ended, or tried again, by somebody else a moment ago")
