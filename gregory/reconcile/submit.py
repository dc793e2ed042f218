"""A queued run is given to its machine, by whoever comes first; what that machine will not take is closed with the reason."""

from dataclasses import dataclass
from functools import partial

from gregory.launch.errors import LaunchError, SubmitError
from gregory.launch.runner import Runner
from gregory.runs import store
from gregory.runs.db_retry import retry_on_disconnect
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState

CANCEL_GRACE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """handle: of the run on its machine, None where that has not taken it. closed: and will not. detail: in words."""

    detail: str
    handle: RunHandle | None = None
    closed: bool = False


def submit_run(spec: RunSpec, runner: Runner) -> Submission:
    """Submit a run whose rows are committed. What is not known to have failed stays queued, for the next look at it."""
    return record_submission(spec, runner, request(spec, runner))


def request(spec: RunSpec, runner: Runner) -> RunHandle | LaunchError:
    """The first half: what its machine answers. No database is touched, so several may ask at once."""
    try:
        return runner.submit(runner.render(spec))
    except LaunchError as error:
        return error


def record_submission(spec: RunSpec, runner: Runner, answer: RunHandle | LaunchError) -> Submission:
    """The second: the ledger is told of the answer. A run that was ended meanwhile is taken back."""
    if isinstance(answer, SubmitError):
        retry_on_disconnect(partial(store.end_run, spec, RunState.FAILED, answer.diagnosis))
        return Submission(detail=str(answer), closed=True)
    if isinstance(answer, LaunchError):
        return Submission(detail=f"not submitted yet: {answer}")
    if not retry_on_disconnect(partial(store.mark_submitted, spec, answer)) and not retry_on_disconnect(partial(store.is_unfinished, spec)):
        return _revoke(runner, answer)
    return Submission(detail=f"submitted as {answer.name}", handle=answer)


def _revoke(runner: Runner, handle: RunHandle) -> Submission:
    """Somebody has ended the run, or begun its next attempt, while this one was being handed over."""
    try:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
    except LaunchError as error:
        # It can write no row, and whoever sweeps finds it without one.
        return Submission(detail=f"ended by somebody else while it was submitted; {handle.name} may still be there: {error}", closed=True)
    return Submission(detail=f"ended by somebody else while it was submitted; {handle.name} was taken back", closed=True)
