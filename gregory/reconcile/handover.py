"""A queued run is given to its machine, by whoever comes first; what that machine will not take is closed with the reason."""

from dataclasses import dataclass
from functools import partial

from gregory.launch.errors import LaunchError, SubmitError
from gregory.launch.runners.base import Runner
from gregory.runs import ledger
from gregory.runs.names import RunState
from gregory.runs.persistence import durably
from gregory.runs.spec import RunHandle, RunSpec

CANCEL_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """handle: of the run on its machine, None where that has not taken it. closed: and will not. detail: in words."""

    detail: str
    handle: RunHandle | None = None
    closed: bool = False


def hand_over(spec: RunSpec, runner: Runner) -> Handover:
    """Submit a run whose rows are committed. What is not known to have failed stays queued, for the next look at it."""
    handed = start(spec, runner)
    return handed if handed.handle is None else note(spec, runner, handed.handle)


def start(spec: RunSpec, runner: Runner) -> Handover:
    """The first half: its machine is asked. Whoever is interrupted after it knows the handle."""
    try:
        handle = runner.submit(runner.render(spec))
    except SubmitError as error:
        durably(partial(ledger.end_run, spec, RunState.FAILED, reason=error.reason, detail=str(error)))
        return Handover(detail=str(error), closed=True)
    except LaunchError as error:
        return Handover(detail=f"not submitted yet: {error}")
    return Handover(detail=f"started as {handle.name}", handle=handle)


def note(spec: RunSpec, runner: Runner, handle: RunHandle) -> Handover:
    """The second: the ledger is told. A run that was ended meanwhile is taken back."""
    if not durably(partial(ledger.mark_submitted, spec, handle)) and not durably(partial(ledger.is_unfinished, spec)):
        return _take_back(runner, handle)
    return Handover(detail=f"submitted as {handle.name}", handle=handle)


def _take_back(runner: Runner, handle: RunHandle) -> Handover:
    """Somebody has ended the run, or begun its next attempt, while this one was being handed over."""
    try:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
    except LaunchError as error:
        # It can write no row, and whoever sweeps finds it without one.
        return Handover(detail=f"ended by somebody else while it was submitted; {handle.name} may still be there: {error}", closed=True)
    return Handover(detail=f"ended by somebody else while it was submitted; {handle.name} was taken back", closed=True)
