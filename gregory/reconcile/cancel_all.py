"""An installation is about to be taken down: every run of its machine is ended. First all rows say so, then the machine is told."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gregory.launch.runner import Runner
from gregory.reconcile import loop
from gregory.reconcile.results import ReconcileResult
from gregory.reconcile.terminate import cancel
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import RunRefused


def cancel_all(runner: Runner, *, by: str, models_dir: Path, stale_after: int) -> Iterator[ReconcileResult]:
    """What came of each. One that finishes meanwhile keeps its own end."""
    handed_over = []
    for standing in store.unfinished_runs():
        run = standing.run
        if run.runner != runner.name:
            continue
        if run.state == RunState.PENDING:
            with suppress(RunRefused):
                yield cancel(run, runner, by=by, models_dir=models_dir)
        else:
            spec = RunSpec.model_validate(run.spec)
            store.announce_end(spec, Diagnosis(summary=f"cancelled by {by}", reason=Reason.CANCELLED), cancelled_by=by)
            handed_over.append(run.run_id)
    if handed_over:
        yield from loop.reconcile_once(lambda name: runner, models_dir=models_dir, stale_after=stale_after, only=handed_over)
