"""The log of a run as text lines: the present content, or all attempts until the run has ended."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

from django.conf import settings

from gregory.launch.runner import Runner
from gregory.management import polling
from gregory.management.runners import reconciler
from gregory.reconcile.loop import Reconciler
from gregory.runs import events, store
from gregory.runs.db_retry import best_effort, close_connection, retry_on_disconnect
from gregory.runs.heartbeat import every
from gregory.runs.models import TrainingRun
from gregory.runs.spec import Attempt, RunHandle
from gregory.runs.states import RunState


class _EndOfContent(Exception):
    """The log has no more lines at present."""


def readable(tail: str) -> str:
    """The end of a log with each event as a line of text. A first event that was cut is left out."""
    lines = tail.splitlines()
    if lines and lines[0].endswith("}") and not lines[0].startswith("{"):
        del lines[0]
    return "\n".join(map(_as_text, lines))


def so_far(run: TrainingRun, runner: Runner) -> Iterator[str]:
    """The lines that the current attempt has written."""

    def waiting() -> NoReturn:
        raise _EndOfContent

    if not _begun(run):
        return
    try:
        yield from map(_as_text, runner.logs(store.attempt_of(run), store.handle_of(run), waiting=waiting))
    except _EndOfContent:
        return


def to_the_end(run_id: str, runner: Runner, runner_for: Callable[[str], Runner]) -> Iterator[str]:
    """The lines of the current attempt and all later ones, until the run has ended. No reconciler is needed."""
    printed, ours = 0, reconciler(runner_for)
    while (run := retry_on_disconnect(partial(store.find_run, run_id))) is not None:
        if _begun(run) and run.attempt > printed:
            printed = run.attempt
            yield from map(_as_text, _attempt(store.attempt_of(run), store.handle_of(run), runner))
        elif RunState(run.state).is_final:
            return
        else:
            polling.pause()
        retry_on_disconnect(partial(_reconcile, run_id, ours))


def _reconcile(run_id: str, ours: Reconciler) -> None:
    # The run store has the results. This only makes the calls.
    deque(ours.reconcile_once([run_id]), maxlen=0)


def _attempt(spec: Attempt, handle: RunHandle, runner: Runner) -> Iterator[str]:
    return runner.logs(spec, handle, waiting=every(polling.POLL_SECONDS, partial(best_effort, partial(_may_work, spec), otherwise=True)))


def _may_work(spec: Attempt) -> bool:
    try:
        return store.is_unfinished(spec) and not store.is_silent(spec.run_id, settings.STALE_AFTER_SECONDS)
    finally:
        close_connection()


def _begun(run: TrainingRun) -> bool:
    return run.submitted_at is not None or run.started_at is not None


def _as_text(line: str) -> str:
    try:
        return events.to_text(events.parse(line))
    except ValueError:
        return line
