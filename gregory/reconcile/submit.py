"""The submission of a queued run. A run that its back end refuses is closed with the reason."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gregory.launch.errors import LaunchError, Refused, SubmitError
from gregory.launch.runner import Runner
from gregory.runs import store
from gregory.runs.db_retry import retry_on_disconnect
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState

CANCEL_GRACE_SECONDS = 30.0
# An API server that has just started refuses every account until it has read permissions and accounts. So a run is refused for good
# only if its account was refused for this time.
PERMISSION_SECONDS = 300

Retry = Callable[[Callable[[], Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """handle: of the submitted run, None if the back end does not have it. closed: the run has ended. detail: for people.

    superseded: another process ended the run, or opened its next attempt, during the submission. The submitted run must be terminated.
    """

    detail: str
    handle: RunHandle | None = None
    closed: bool = False
    superseded: bool = False


def request(spec: RunSpec, runner: Runner) -> RunHandle | LaunchError:
    """First half of a submission: the answer of the back end. It uses no database, so several threads may call it at the same time."""
    try:
        return runner.submit(runner.render(spec))
    except LaunchError as error:
        return error


def record_submission(spec: RunSpec, runner: Runner, answer: RunHandle | LaunchError, *, retry: Retry = retry_on_disconnect) -> Submission:
    """Second half: record the answer in the run store. A run that was ended in the meantime is terminated.

    retry: calls the database, again while it does not answer. It may return the error of the last call.
    """
    submission = record_answer(spec, answer, retry=retry)
    return revoke(runner, answer) if submission.superseded and isinstance(answer, RunHandle) else submission


def record_answer(spec: RunSpec, answer: RunHandle | LaunchError, *, retry: Retry) -> Submission:
    """The part of `record_submission` that uses the database only. The answer may be older than the state of the run."""
    if isinstance(answer, LaunchError) and not isinstance(answer, SubmitError):
        lacks_permission = isinstance(answer, Refused) and answer.lacks_permission
        seconds = retry(partial(store.record_delay, spec, str(answer), refused=lacks_permission))
        if isinstance(seconds, Exception) or seconds <= PERMISSION_SECONDS:
            return Submission(detail=f"not submitted yet: {answer}")
        summary = f"cannot start {spec.label}: refused for {seconds:.0f} s, the limit is {PERMISSION_SECONDS} s: {answer}"
        answer = SubmitError(summary, reason=Reason.REFUSED)
    if isinstance(answer, SubmitError):
        if retry(partial(store.end_queued, {spec.run_id: spec.attempt_token}, RunState.FAILED, answer.diagnosis)):
            return Submission(detail=str(answer), closed=True)
        if retry(partial(store.being_published, spec)):
            return Submission(detail=f"refused; it ends when its models were looked for: {answer}")
        return Submission(detail=f"refused after another process submitted or ended it: {answer}")
    # A fast run ends before its submission is recorded. It keeps its log, and a process that still works is garbage.
    known = partial(store.mark_submitted, spec, answer), partial(store.is_unfinished, spec), partial(store.ended_at_work, spec)
    superseded = not any(map(retry, known))
    return Submission(detail=f"submitted as {answer.name}", handle=answer, superseded=superseded)


def revoke(runner: Runner, handle: RunHandle) -> Submission:
    """Terminate the submitted run, because another process ended it, or opened its next attempt, during the submission."""
    try:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
    except LaunchError as error:
        # Without the current token it can write no row. A later pass of `collect_garbage` removes it.
        return Submission(detail=f"another process ended it during the submission; {handle.name} may still exist: {error}", closed=True)
    return Submission(detail=f"another process ended it during the submission; {handle.name} was terminated", closed=True)
