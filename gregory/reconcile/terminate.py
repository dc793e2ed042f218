"""Somebody asks for the end of a run: the row says so first, then its machine is told, then what is open is closed."""

from pathlib import Path

from gregory.launch.runner import Runner
from gregory.reconcile.loop import PendingTermination, end
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import RunRefused, RunWithTimers


def cancel(run: TrainingRun, runner: Runner, *, by: str, models_dir: Path) -> ReconcileResult:
    """What came of it. A run that finishes meanwhile keeps its own end. Raises RunRefused where the run has ended."""
    spec = RunSpec.model_validate(run.spec)
    announced = store.announce_end(spec, reason=Reason.CANCELLED, detail=f"cancelled by {by}", cancelled_by=by)
    if not announced and not store.is_unfinished(spec):
        raise RunRefused(f"run {run.run_id} of {spec.label} has ended, or another attempt of it has begun; look at it again")
    standing = store.run_with_timers(run.run_id)
    if standing is None or not store.is_unfinished(spec):
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail="it ended by itself meanwhile")
    if standing.run.state == RunState.PENDING:
        return _close_queued(standing, spec)
    ending = PendingTermination(run=standing.run, spec=spec, reason=Reason(standing.run.reason), detail=standing.run.detail)
    (change,) = end([ending], runner, models_dir=models_dir)
    return change


def _close_queued(standing: RunWithTimers, spec: RunSpec) -> ReconcileResult:
    """Nothing works on it. Its handle is that of the command that queued it, which has other runs, too, and is left alone."""
    detail = f"{standing.run.detail} before it was started"
    closed = store.end_run(spec, RunState.CANCELLED, reason=Reason.CANCELLED, detail=detail)
    return ReconcileResult(
        run=standing.run, action=ResultKind.CLOSED if closed else ResultKind.LEFT, reason=Reason.CANCELLED, detail=detail
    )
