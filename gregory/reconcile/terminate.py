"""Somebody asks for the end of a run: the row says so first, then its machine is told, then what is open is closed."""

from pathlib import Path

from gregory.launch.runner import Runner
from gregory.reconcile.loop import PendingTermination, end
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import RunRefused, RunWithTimers


def cancel(run: TrainingRun, runner: Runner, *, by: str, models_dir: Path) -> ReconcileResult:
    """What came of it. A run that finishes meanwhile keeps its own end. Raises RunRefused where the run has ended."""
    spec = RunSpec.model_validate(run.spec)
    announced = store.announce_end(spec, Diagnosis(summary=f"cancelled by {by}", reason=Reason.CANCELLED), cancelled_by=by)
    if not announced and not store.is_unfinished(spec):
        raise RunRefused(f"run {run.run_id} of {spec.label} has ended, or another attempt of it has begun; look at it again")
    standing = store.run_with_timers(run.run_id)
    if standing is None or not store.is_unfinished(spec):
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail="it ended by itself meanwhile")
    if standing.run.state == RunState.PENDING:
        return _close_queued(standing, spec)
    announced_end = Diagnosis(summary=standing.run.detail, reason=Reason(standing.run.reason))
    ending = PendingTermination(run=standing.run, spec=spec, diagnosis=announced_end)
    (change,) = end([ending], runner, models_dir=models_dir)
    return change


def _close_queued(standing: RunWithTimers, spec: RunSpec) -> ReconcileResult:
    """Nothing works on it. Its handle is that of the command that queued it, which has other runs, too, and is left alone."""
    end = Diagnosis(summary=f"{standing.run.detail} before it was started", reason=Reason.CANCELLED)
    action = ResultKind.CLOSED if store.end_run(spec, RunState.CANCELLED, end) else ResultKind.LEFT
    return ReconcileResult(run=standing.run, action=action, reason=end.reason, detail=end.headline)
