"""The runs that a command opened and did not start. They end with the command, in few statements for any number of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from traceback import format_exception

from django.db import transaction

from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.termination import settle, signal_behind
from gregory.ml.stages.contract import kind_of
from gregory.output import counted, one_line
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState


def tokens(specs: Sequence[RunSpec]) -> dict[str, str]:
    """The attempt token of each run, by its id."""
    return {spec.run_id: spec.attempt_token for spec in specs}


def open_failed(spec: RunSpec, error: Exception, insert: Callable[[RunSpec], RunSpec]) -> RunSpec:
    """Open a run with `insert` and end it because of `error`, in one transaction. Raises RunRefused."""
    with transaction.atomic():
        opened = insert(spec)
        reason = Reason(kind_of(error))
        store.fail_open_rows(opened, reason=reason, error="".join(format_exception(error)))
        store.finish_run(opened, RunState.FAILED, Diagnosis(summary=str(error), reason=reason))
    return opened


@contextmanager
def closed_on_error(attempts: Mapping[str, str], console: Console) -> Iterator[dict[str, str]]:
    """If the block ends with an exception, close the attempts that are queued. attempts: the token by run id, also of unopened runs.

    Yields a copy. The block removes the runs from it that its back end may have.
    """
    queued = dict(attempts)
    try:
        yield queued
    except BaseException as cause:
        _close(queued, cause, console)
        raise


def _close(attempts: Mapping[str, str], cause: BaseException, console: Console) -> None:
    """Runs that were submitted or claimed stay as they are. If the database does not answer, print the remedy."""
    signal = signal_behind(cause)
    if signal is not None:
        state, end = RunState.CANCELLED, Diagnosis(summary=f"{signal} before it was started", reason=Reason.INTERRUPTED)
    else:
        why = one_line(str(cause)) or type(cause).__name__
        state, end = RunState.FAILED, Diagnosis(summary=f"the command ended before it was started: {why}", reason=Reason.NOT_STARTED)
    closed = settle(partial(store.end_queued, attempts, state, end), cause=cause)
    if isinstance(closed, Exception):
        remedy = "when it answers, run: python manage.py reconcile_runs --once"
        console.error(f"{describe(closed)}; up to {counted(len(attempts), 'run')} may still be queued; {remedy}")
