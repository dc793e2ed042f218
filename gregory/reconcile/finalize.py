"""A terminated run: its results become rows. Then its open rows are closed, or another attempt continues them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gregory.launch.runner import Runner
from gregory.reconcile.decide import RetryPolicy, retry_policy
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import recovery, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import REPORT_TAKES_PRECEDENCE, RETRYABLE, Reason
from gregory.runs.spec import FOREIGN, AlgorithmOutcome, Attempt, RunSpec, Training
from gregory.runs.states import RunState
from gregory.runs.volume import Read


def finalize_run(
    run: TrainingRun,
    spec: Attempt,
    end: Diagnosis,
    runner: Runner,
    *,
    report: str,
    models_dir: Path,
    read: Read,
    holds: Callable[[], bool] = lambda: True,
) -> ReconcileResult:
    """Write the end of the run. report: the outcome report that its back end kept. holds: whether the run still counts as terminated.

    The next attempt of the run is opened and not submitted. Raises VolumeUnavailable if the models volume does not answer `read`. The end
    then waits for its answer.
    """
    if not store.is_unfinished(spec):
        return _too_late(run)
    interrupted = recovery.replay(spec, report, models_dir=models_dir, read=read)
    still_open = recovery.close_published(spec, models_dir=models_dir, read=read)
    # The log of a success is not needed, and each log costs two requests.
    log_tail = runner.log_tail(spec) if still_open or store.unsuccessful(spec) else ""
    # After all that takes time.
    if not holds():
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail="its state changed meanwhile; the next pass decides again")
    if not still_open:
        return _finish(run, spec, end, log_tail)
    reason = end.reason or Reason.LOST
    if interrupted and reason in REPORT_TAKES_PRECEDENCE:
        reason, end = Reason.INTERRUPTED, end.after(interrupted)
    training, publishing = store.in_training(spec), store.being_published(spec)
    announced = store.announced_end(spec)
    decided = announced is not None and store.is_decided(run, announced.reason)
    following = retry_policy(
        reason,
        durable=runner.durable,
        retries=run.retries,
        max_attempts=runner.max_attempts,
        in_training=len(training),
        still_open=len(still_open),
        publishing=len(publishing & still_open),
        announced=decided,
    )
    if following is RetryPolicy.CLOSE:
        if runner.max_attempts > 1 and reason in RETRYABLE and not decided:
            end = end.noting(f"the run had {run.retries + 1} attempts, which is the limit")
        return _close(run, spec, replace(end, reason=reason), log_tail)
    if not isinstance(spec, RunSpec):
        end = end.noting(f"{FOREIGN} and can resume it; this version cannot, so train again")
        return _close(run, spec, replace(end, reason=reason), log_tail)
    without = training if following is RetryPolicy.WITHOUT else []
    if following is RetryPolicy.PUBLISH:
        # This process cannot prove that the model is not in its folder. An attempt reads the folder, and it finishes a finished training.
        without = [algorithm for algorithm in spec.algorithms if algorithm.run_log_id in still_open - publishing]
    return _retry(run, spec, replace(end, reason=reason), following, runner, without=without, log_tail=log_tail)


def _retry(
    run: TrainingRun,
    spec: RunSpec,
    end: Diagnosis,
    following: RetryPolicy,
    runner: Runner,
    *,
    without: Sequence[Training],
    log_tail: str,
) -> ReconcileResult:
    """Fail the rows `without` and open the next attempt for the others."""
    closed = [AlgorithmOutcome(**dict(algorithm), success=False, reason=end.reason, error=end.text) for algorithm in without]
    try:
        attempt = store.retry(
            spec,
            end,
            handle=runner.owner_handle(),
            counts=following is not RetryPolicy.WITHOUT or not without,
            without=closed,
            publish_only=following is RetryPolicy.PUBLISH,
            log_tail=log_tail,
        )
    except store.RunRefused as refused:
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail=str(refused))
    algorithms = ", ".join(algorithm.algorithm for algorithm in attempt.algorithms)
    detail = f"{end.headline}; attempt {attempt.attempt} with {algorithms}"
    return ReconcileResult(run=run, action=ResultKind.RETRIED, reason=end.reason, detail=detail, following=attempt)


def _finish(run: TrainingRun, spec: Attempt, end: Diagnosis, log_tail: str) -> ReconcileResult:
    """End a run after all its rows. Its state follows from them."""
    failed = store.unsuccessful(spec)
    end = end if failed else end.after("every model was complete")
    if not store.finish_from_rows(spec, failed, end, log_tail=log_tail):
        return _too_late(run)
    if not failed:
        return ReconcileResult(run=run, action=ResultKind.SUCCEEDED, detail=end.headline)
    return ReconcileResult(run=run, action=ResultKind.CLOSED, reason=end.reason, detail=end.headline)


def _close(run: TrainingRun, spec: Attempt, end: Diagnosis, log_tail: str) -> ReconcileResult:
    state = RunState.CANCELLED if end.reason is Reason.CANCELLED else RunState.FAILED
    if not store.end_run(spec, state, end, log_tail=log_tail):
        return _too_late(run)
    return ReconcileResult(run=run, action=ResultKind.CLOSED, reason=end.reason, detail=end.headline)


def _too_late(run: TrainingRun) -> ReconcileResult:
    return ReconcileResult(run=run, action=ResultKind.LEFT, detail="another process just ended or retried the run")
