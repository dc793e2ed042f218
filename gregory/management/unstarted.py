"""The runs that a command opened and did not start. They end with the command, in few statements for any number of them."""

from collections.abc import Mapping, Sequence
from functools import partial

from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.termination import settle, signal_behind
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState


def tokens(specs: Sequence[RunSpec]) -> dict[str, str]:
    """The attempt token of each run, by its id."""
    return {spec.run_id: spec.attempt_token for spec in specs}


def close(attempts: Mapping[str, str], cause: BaseException, console: Console, *, before: str = "it was started") -> None:
    """Close the attempts that are still queued, as `cause` ends the command. attempts: the token by run id, also of unopened runs.

    Runs that were submitted or claimed stay as they are. If the database does not answer, print the remedy.
    """
    signal = signal_behind(cause)
    if signal is not None:
        state, end = RunState.CANCELLED, Diagnosis(summary=f"{signal} before {before}", reason=Reason.INTERRUPTED)
    else:
        why = " ".join(str(cause).split()) or type(cause).__name__
        state, end = RunState.FAILED, Diagnosis(summary=f"the command ended before {before}: {why}", reason=Reason.NOT_STARTED)
    closed = settle(partial(store.end_queued, attempts, state, end), cause=cause)
    if isinstance(closed, Exception):
        remedy = "when it answers, run: python manage.py reconcile_runs --once"
        console.error(f"{describe(closed)}; up to {len(attempts)} runs may still be queued; {remedy}")
