"""One look at every unfinished run, a call per runner however many there are, and what follows from it.

Safe from several places at once: every write demands the attempt that was looked at, so of two who draw the same conclusion one
writes it, and what both hand over is handed over once.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from gregory.launch.errors import LaunchError
from gregory.launch.registry import RUNNERS
from gregory.launch.runner import Observation, Runner, Status
from gregory.ml.artifacts import stages_folder
from gregory.reconcile.decide import MISSING_GRACE, Action, RunSnapshot, decide
from gregory.reconcile.finalize import finalize_dead_run
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.reconcile.submit import CANCEL_GRACE_SECONDS, submit_run
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import ObservedStatus, RunWithTimers

# What a failed run left is kept this long for whoever looks into it.
KEEP_FAILED_SECONDS = 7 * 24 * 3600

# Each is a thread that waits for its machine.
ENDED_SIDE_BY_SIDE = 16

RunnerFor = Callable[[str], Runner]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingTermination:
    """A run that is to be ended on its machine, as it was read, and why."""

    run: TrainingRun
    spec: RunSpec
    diagnosis: Diagnosis


def reconcile_once(
    runner_for: RunnerFor, *, models_dir: Path, stale_after: int, only: Collection[str] | None = None
) -> Iterator[ReconcileResult]:
    """Look at every unfinished run, or those with these ids, and do what has to be done; what that was, run by run."""
    by_runner: dict[str, list[RunWithTimers]] = {}
    for standing in store.unfinished_runs(only):
        by_runner.setdefault(standing.run.runner, []).append(standing)
    for name, standings in by_runner.items():
        try:
            runner = runner_for(name)
            observations = runner.observe([store.handle_of(standing.run) for standing in standings])
        except LaunchError as error:
            # A runner of another version, or a machine that is away, must not keep the others from being looked at.
            yield from (ReconcileResult(run=standing.run, action=ResultKind.UNSEEN, detail=str(error)) for standing in standings)
            continue
        endings: list[PendingTermination] = []
        for standing, observation in zip(standings, observations, strict=True):
            try:
                done = apply(standing, observation, runner, models_dir=models_dir, stale_after=stale_after)
            except LaunchError as error:
                done = ReconcileResult(run=standing.run, action=ResultKind.UNSEEN, detail=str(error))
            if isinstance(done, PendingTermination):
                endings.append(done)
            else:
                yield done
        # Last, since it takes time: nobody else waits for it.
        yield from end(endings, runner, models_dir=models_dir)


def snapshot_of(standing: RunWithTimers, observation: Observation, runner: Runner, *, models_dir: Path, stale_after: int) -> RunSnapshot:
    """What the rule needs to know of a run beside its machine's word."""
    run = standing.run
    return RunSnapshot(
        state=RunState(run.state),
        silent=standing.silent,
        idle=standing.idle,
        missing=standing.missing,
        # Of a run that has ended it is no announcement.
        announced=Diagnosis(summary=run.detail, reason=Reason(run.reason)) if run.reason and not RunState(run.state).is_final else None,
        durable=runner.durable,
        # The models are looked at only where something hangs on them: a file server that hangs must not keep others from their ends.
        models_not_visible=observation.missing and run.state == RunState.RUNNING and not stages_folder(models_dir, run.run_id).is_dir(),
        stale_after=stale_after,
        stall_after=runner.stall_seconds,
    )


def apply(
    standing: RunWithTimers, observation: Observation, runner: Runner, *, models_dir: Path, stale_after: int
) -> ReconcileResult | PendingTermination:
    """Judge one run and do what has to be done, but for ending it on its machine."""
    run = standing.run
    try:
        spec = RunSpec.model_validate(run.spec)
    except ValidationError:
        return ReconcileResult(
            run=run, action=ResultKind.UNSEEN, detail="it was specified by another version of this program, which has to look after it"
        )
    verdict = decide(observation, snapshot_of(standing, observation, runner, models_dir=models_dir, stale_after=stale_after))
    noted = run.state != RunState.PENDING and store.record_observation(spec, run, _sighting(observation))
    match verdict.action:
        case Action.SUBMIT:
            handed = submit_run(spec, runner)
            action = ResultKind.CLOSED if handed.closed else ResultKind.SUBMITTED if handed.handle else ResultKind.LEFT
            return ReconcileResult(run=run, action=action, detail=handed.detail)
        case Action.TERMINATE:
            return PendingTermination(run=run, spec=spec, diagnosis=verdict.diagnosis)
        case Action.FINALIZE:
            return finalize_dead_run(run, spec, verdict.diagnosis, runner, report=observation.report, models_dir=models_dir)
    told = f"waiting: {verdict.diagnosis.headline}" if observation.status is Status.PENDING else verdict.diagnosis.headline
    unknown = observation.status is Status.UNKNOWN
    if unknown and run.unknown_since:
        told = f"{told}; unknown since {run.unknown_since:%Y-%m-%d %H:%M:%S} UTC"
    return ReconcileResult(run=run, action=ResultKind.NOTED if noted else ResultKind.LEFT, detail=told, unknown=unknown)


def end(endings: Sequence[PendingTermination], runner: Runner, *, models_dir: Path) -> Iterator[ReconcileResult]:
    """End runs that their machine still has, and close those that are seen gone. Until then their rows say what is being done."""
    asked = []
    for ending in endings:
        if store.announce_end(ending.spec, ending.diagnosis) or store.is_unfinished(ending.spec):
            asked.append(ending)
        else:
            yield ReconcileResult(run=ending.run, action=ResultKind.LEFT, detail="it ended by itself meanwhile")
    handles = [store.handle_of(ending.run) for ending in asked]
    for ending, seen in zip(asked, _ended(handles, runner), strict=True):
        yield _close(ending, seen, runner, models_dir=models_dir)


def _ended(handles: Sequence[RunHandle], runner: Runner) -> list[Observation | LaunchError]:
    """Tell their machine, side by side, and look at them; what cannot be seen in the place of what is."""
    if len(handles) == 1:
        told = [_told_to_end(handles[0], runner)]
    else:
        # Each may take its grace; no thread of these touches the database.
        with ThreadPoolExecutor(ENDED_SIDE_BY_SIDE) as pool:
            told = list(pool.map(lambda handle: _told_to_end(handle, runner), handles))
    if all(told):
        return [error for error in told if error]
    try:
        observations = runner.observe(handles)
    except LaunchError as error:
        return [error] * len(handles)
    return [error or observation for error, observation in zip(told, observations, strict=True)]


def _told_to_end(handle: RunHandle, runner: Runner) -> LaunchError | None:
    try:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
    except LaunchError as error:
        return error
    return None


def _close(ending: PendingTermination, seen: Observation | LaunchError, runner: Runner, *, models_dir: Path) -> ReconcileResult:
    run, spec, reason, detail = ending.run, ending.spec, ending.diagnosis.reason, ending.diagnosis.headline
    if isinstance(seen, LaunchError):
        return ReconcileResult(run=run, action=ResultKind.NOTED, reason=reason, detail=f"{detail}; being ended, not seen gone: {seen}")
    if seen.status is not Status.TERMINATED:
        return ReconcileResult(run=run, action=ResultKind.NOTED, reason=reason, detail=f"{detail}; being ended: {seen.text}")
    if not store.is_unfinished(spec):
        return ReconcileResult(run=run, action=ResultKind.NOTED, reason=reason, detail=f"{detail}; it ended by itself meanwhile")
    if seen.missing and run.state == RunState.RUNNING:
        # It may have finished something that nobody but its pod could tell, and somebody else may have seen that pod end.
        told = f"it is gone, and whoever saw how has {MISSING_GRACE:.0f} s to say so"
        return ReconcileResult(run=run, action=ResultKind.NOTED, reason=reason, detail=f"{detail}; {told}")
    end = replace(ending.diagnosis, exit_code=seen.diagnosis.exit_code if seen.diagnosis else None)
    return finalize_dead_run(run, spec, end, runner, report=seen.report, models_dir=models_dir)


def collect_garbage(runner_for: RunnerFor, *, keep_seconds: float = KEEP_FAILED_SECONDS) -> Iterator[str]:
    """Remove what runs that ended longer ago than this left on their machines, and what no row knows; what that was."""
    # The working folders are everybody's and the local runner's to remove; a runner of another version has nobody to ask.
    for name in sorted({"local", *store.runners_used()} & RUNNERS.keys()):
        # A machine that is away is swept when it is back.
        with suppress(LaunchError):
            yield from runner_for(name).collect_garbage(_Unfinished(), keep_seconds=keep_seconds)


class _Unfinished(Collection[str]):
    """The ids of unfinished runs, read when they are first asked for.

    By then a runner has made its list of what is there, so a run that is opened and submitted meanwhile is in both.
    """

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(standing.run.run_id for standing in store.unfinished_runs())

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _sighting(observation: Observation) -> ObservedStatus:
    return ObservedStatus(
        known=observation.status is not Status.UNKNOWN,
        missing=observation.missing,
        waiting_for=observation.text if observation.status is Status.PENDING else None,
        node=observation.node,
    )
