"""One look at every unfinished run, a call per runner however many there are, and what follows from it.

Safe from several places at once: every write demands the attempt that was looked at, so of two who draw the same conclusion one
writes it, and what both hand over is handed over once.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from gregory.launch.errors import LaunchError
from gregory.launch.runners.base import Life, Observation, Runner
from gregory.launch.submit import RUNNERS
from gregory.reconcile.burial import bury
from gregory.reconcile.changes import Action, Change
from gregory.reconcile.handover import CANCEL_GRACE_SECONDS, hand_over
from gregory.reconcile.verdict import Facts, Fate, Verdict, judge
from gregory.runs import ledger
from gregory.runs.ledger import Sighting, Standing
from gregory.runs.names import Reason, RunState
from gregory.runs.spec import RunSpec

# What a failed run left is kept this long for whoever looks into it.
KEEP_FAILED_SECONDS = 7 * 24 * 3600

RunnerFor = Callable[[str], Runner]


def look(runner_for: RunnerFor, *, models_dir: Path, stale_after: int, only: Collection[str] | None = None) -> Iterator[Change]:
    """Look at every unfinished run, or those with these ids, and do what has to be done; what that was, run by run."""
    by_runner: dict[str, list[Standing]] = {}
    for standing in ledger.unfinished_runs(only):
        by_runner.setdefault(standing.run.runner, []).append(standing)
    for name, standings in by_runner.items():
        try:
            runner = runner_for(name)
            observations = runner.observe([ledger.handle_of(standing.run) for standing in standings])
        except LaunchError as error:
            # A runner of another version, or a machine that is away, must not keep the others from being looked at.
            yield from (Change(run=standing.run, action=Action.UNSEEN, detail=str(error)) for standing in standings)
            continue
        for standing, observation in zip(standings, observations, strict=True):
            try:
                yield apply(standing, observation, runner, models_dir=models_dir, stale_after=stale_after)
            except LaunchError as error:
                yield Change(run=standing.run, action=Action.UNSEEN, detail=str(error))


def facts_of(standing: Standing, runner: Runner, *, stale_after: int) -> Facts:
    """What the rule needs to know of a run beside its machine's word."""
    run = standing.run
    return Facts(
        state=RunState(run.state),
        silent=standing.silent,
        idle=standing.idle,
        missing=standing.missing,
        # Of a run that has ended it is no announcement.
        ending=Reason(run.reason) if run.reason and not RunState(run.state).is_final else None,
        why=run.detail,
        kept=runner.concurrent,
        stale_after=stale_after,
        stall_after=runner.stall_seconds,
    )


def apply(standing: Standing, observation: Observation, runner: Runner, *, models_dir: Path, stale_after: int) -> Change:
    """Judge one run and do what has to be done."""
    run = standing.run
    try:
        spec = RunSpec.model_validate(run.spec)
    except ValidationError:
        return Change(
            run=run, action=Action.UNSEEN, detail="it was specified by another version of this program, which has to look after it"
        )
    verdict = judge(observation, facts_of(standing, runner, stale_after=stale_after))
    noted = run.state != RunState.PENDING and ledger.see(spec, run, _sighting(observation))
    match verdict.fate:
        case Fate.SUBMIT:
            handed = hand_over(spec, runner)
            action = Action.CLOSED if handed.closed else Action.SUBMITTED if handed.handle else Action.LEFT
            return Change(run=run, action=action, detail=handed.detail)
        case Fate.END:
            return end(standing, spec, verdict, runner, models_dir=models_dir)
        case Fate.BURY:
            return bury(run, spec, verdict, runner, report=observation.report, models_dir=models_dir)
    told = f"waiting: {verdict.detail}" if observation.life is Life.WAITING else verdict.detail
    return Change(run=run, action=Action.NOTED if noted else Action.LEFT, detail=told)


def end(standing: Standing, spec: RunSpec, verdict: Verdict, runner: Runner, *, models_dir: Path) -> Change:
    """End a run that its machine still has, and close it once it is seen gone. Until then its row says what is being done."""
    run, reason = standing.run, verdict.reason or Reason.CANCELLED
    if not ledger.announce_end(spec, reason=reason, detail=verdict.detail) and not ledger.is_unfinished(spec):
        return Change(run=run, action=Action.LEFT, detail="it ended by itself meanwhile")
    handle = ledger.handle_of(run)
    try:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
        (observation,) = runner.observe([handle])
    except LaunchError as error:
        return Change(run=run, action=Action.NOTED, reason=reason, detail=f"{verdict.detail}; being ended, not seen gone: {error}")
    if observation.life is not Life.DEAD:
        return Change(run=run, action=Action.NOTED, reason=reason, detail=f"{verdict.detail}; being ended: {observation.detail}")
    if not ledger.is_unfinished(spec):
        return Change(run=run, action=Action.NOTED, reason=reason, detail=f"{verdict.detail}; it ended by itself meanwhile")
    gone = Verdict(fate=Fate.BURY, reason=reason, detail=verdict.detail, exit_code=observation.exit_code)
    return bury(run, spec, gone, runner, report=observation.report, models_dir=models_dir)


def sweep(runner_for: RunnerFor, *, keep_seconds: float = KEEP_FAILED_SECONDS) -> Iterator[str]:
    """Remove what runs that ended longer ago than this left on their machines, and what no row knows; what that was."""
    # The working folders are everybody's and the local runner's to remove; a runner of another version has nobody to ask.
    for name in sorted({"local", *ledger.runners_used()} & RUNNERS.keys()):
        # A machine that is away is swept when it is back.
        with suppress(LaunchError):
            yield from runner_for(name).sweep(_Unfinished(), keep_seconds=keep_seconds)


class _Unfinished(Collection[str]):
    """The ids of unfinished runs, read when they are first asked for.

    By then a runner has made its list of what is there, so a run that is opened and submitted meanwhile is in both.
    """

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(standing.run.run_id for standing in ledger.unfinished_runs())

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _sighting(observation: Observation) -> Sighting:
    return Sighting(
        known=observation.life is not Life.UNKNOWN,
        missing=observation.missing,
        waiting_for=observation.detail if observation.life is Life.WAITING else None,
        node=observation.node,
    )
