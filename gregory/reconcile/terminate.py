"""The termination of living runs: the row gets the reason first, then the back end ends the run, then its open rows are closed."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Observation, Runner, Status
from gregory.reconcile.decide import MISSING_GRACE
from gregory.reconcile.finalize import finalize_run
from gregory.reconcile.results import ReconcileResult, ResultKind, isolated
from gregory.reconcile.submit import CANCEL_GRACE_SECONDS
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import Attempt, RunHandle
from gregory.runs.states import RunState
from gregory.runs.volume import Read

# Each of these threads waits for the back end.
CONCURRENT_TERMINATIONS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTermination:
    """A run that its back end is to end, as it was read, and the cause."""

    run: TrainingRun
    spec: Attempt
    diagnosis: Diagnosis


def terminate_runs(pending: Sequence[PendingTermination], runner: Runner, *, models_dir: Path, read: Read) -> Iterator[ReconcileResult]:
    """Terminate runs that their back end still has, and finalize those that are observed as terminated. Yields one result per run."""
    announced = []
    for termination in pending:
        end = isolated(termination.run, partial(_announce, termination))
        if isinstance(end, ReconcileResult):
            yield end
        elif end is not None:
            announced.append(replace(termination, diagnosis=end))
        else:
            yield ReconcileResult(run=termination.run, action=ResultKind.LEFT, detail="its state changed meanwhile; it is not terminated")
    handles = [store.handle_of(termination.run) for termination in announced]
    for termination, observation in zip(announced, _terminate(handles, runner), strict=True):
        yield isolated(termination.run, partial(_finalize, termination, observation, runner, models_dir=models_dir, read=read))


def close_queued(run: TrainingRun, spec: Attempt) -> ReconcileResult:
    """Close a run before its submission. The process that queued it has other runs too, so it continues."""
    end = Diagnosis(summary=f"{run.detail} before it was started", reason=Reason.CANCELLED)
    action = ResultKind.CLOSED if store.end_run(spec, RunState.CANCELLED, end) else ResultKind.LEFT
    return ReconcileResult(run=run, action=action, reason=end.reason, detail=end.headline)


def _announce(termination: PendingTermination) -> Diagnosis | None:
    """The announced end of the run. None if the run ended, or is not the run any more on which the end was decided."""
    if store.announce_end(termination.spec, termination.diagnosis, decided_on=termination.run):
        return termination.diagnosis
    # Another reconciler, or an operator, may have announced an end.
    return store.announced_end(termination.spec)


def _terminate(handles: Sequence[RunHandle], runner: Runner) -> list[Observation | Exception]:
    """The observation of each run after its termination; the error in its place if there is none, so that it is that run's alone."""
    if len(handles) == 1:
        errors = [_cancel(handles[0], runner)]
    else:
        # Each termination may take its whole grace period. No thread of these uses the database.
        with ThreadPoolExecutor(CONCURRENT_TERMINATIONS) as pool:
            errors = list(pool.map(lambda handle: _cancel(handle, runner), handles))
    if all(errors):
        return [error for error in errors if error]
    try:
        observations = runner.observe(handles)
    except Exception as error:  # noqa: BLE001 - the result of each run has it
        return [error] * len(handles)
    return [error or observation for error, observation in zip(errors, observations, strict=True)]


def _cancel(handle: RunHandle, runner: Runner) -> Exception | None:
    try:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
    except Exception as error:  # noqa: BLE001 - the result of the run has it
        return error
    return None


def _finalize(
    termination: PendingTermination, observation: Observation | Exception, runner: Runner, *, models_dir: Path, read: Read
) -> ReconcileResult:
    run, spec, end = termination.run, termination.spec, termination.diagnosis
    if isinstance(observation, LaunchError):
        progress = f"being terminated, its end is not observed: {observation}"
    elif isinstance(observation, Exception):
        raise observation
    elif observation.status is not Status.TERMINATED:
        progress = f"being terminated: {observation.text}"
    elif not store.is_unfinished(spec):
        progress = "it ended by itself meanwhile"
    elif observation.missing and run.state == RunState.RUNNING:
        # Only its pod could report a training that it had finished. Another reconciler may have observed the end of that pod.
        progress = f"it is gone; the reconciler waits {MISSING_GRACE:.0f} s for an observation of its end"
    else:
        end = replace(end, exit_code=observation.diagnosis.exit_code if observation.diagnosis else None)
        return finalize_run(run, spec, end, runner, report=observation.report, models_dir=models_dir, read=read)
    return ReconcileResult(run=run, action=ResultKind.NOTED, reason=end.reason, detail=f"{end.headline}; {progress}")
