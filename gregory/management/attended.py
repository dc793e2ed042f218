"""Runs that end with the command. The command submits a certain number of them, follows each to its end, and then submits the next.

One thread does all of it, so a signal interrupts it anywhere.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from django.conf import settings
from django.db import InterfaceError, OperationalError

from gregory.launch.errors import LaunchError
from gregory.launch.runner import PolledRunner, Runner, Status, poll_seconds
from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.runners import reconciler
from gregory.management.termination import Terminated, persist, raise_if_terminated, settle, signal_behind
from gregory.reconcile.decide import Action
from gregory.reconcile.submit import CANCEL_GRACE_SECONDS, record_submission, request
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection
from gregory.runs.heartbeat import HEARTBEAT_SECONDS, every
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState


@dataclass(frozen=True, slots=True, eq=False)
class _Submitted:
    """A run that the back end has. lines: its log. None: no line is there yet."""

    spec: RunSpec
    handle: RunHandle
    lines: Iterator[str | None]


def execute(opened: Sequence[RunSpec], runner: Runner, console: Console, *, at_once: int) -> None:
    """Execute every run, `at_once` of them at a time. Raises Terminated after a signal, which ends the current runs.

    After an error, the current runs end with the command. The runs that have not begun are left to the caller.
    """
    waiting, current = deque(opened), list[_Submitted]()
    # A log that is waited for shows the end of its run at once.
    log = runner.lines if min(at_once, len(opened)) > 1 and isinstance(runner, PolledRunner) else runner.logs
    try:
        while waiting or current:
            while waiting and len(current) < at_once:
                spec = waiting.popleft()
                if handle := _submit(spec, runner, console):
                    may_work = every(HEARTBEAT_SECONDS, partial(_keep_alive, spec, waiting))
                    current.append(_Submitted(spec, handle, _lines(partial(log, spec, handle, waiting=may_work))))
                    record_submission(spec, runner, handle, retry=persist)
                    # The log is followed even if the run has already ended: it has the cause.
                    close_connection()
            for run in _follow(current, console):
                persist(partial(_close, run, runner, console))
                current.remove(run)
    except BaseException as cause:
        _end(current, runner, console, cause=cause)
        raise


def _submit(spec: RunSpec, runner: Runner, console: Console) -> RunHandle | None:
    """The handle of a run that the back end has. None: the run has ended."""
    if not persist(partial(store.is_unfinished, spec)):
        console.error(f"{spec.label}: run {spec.run_id} was ended while it was queued")
        return None
    handle = request(spec, runner)
    if isinstance(handle, LaunchError):
        console.error(f"{spec.label}: {record_submission(spec, runner, handle).detail}")
        return None
    return handle


def _lines(log: Callable[[], Iterator[str | None]]) -> Iterator[str | None]:
    """The lines of a log that is opened when the first line is asked for. An error of it then belongs to a submitted run."""
    yield from log()


def _follow(current: Sequence[_Submitted], console: Console) -> list[_Submitted]:
    """Show the lines of all runs until a log ends. Returns the runs whose log has ended."""
    ended: list[_Submitted] = []
    last_line = time.monotonic()
    while current and not ended:
        for run in current:
            for line in run.lines:
                if line is None:
                    break
                console.show_line(line)
                last_line = time.monotonic()
            else:
                ended.append(run)
        if not ended:
            time.sleep(poll_seconds(time.monotonic() - last_line))
    return ended


def _end(current: Sequence[_Submitted], runner: Runner, console: Console, *, cause: BaseException) -> None:
    """Cancel the current runs after a signal, and close their rows."""
    terminated, cancelled = signal_behind(cause), set[_Submitted]()
    if current and terminated:
        # Each may need its whole grace period.
        with ThreadPoolExecutor(len(current)) as pool:
            for run, found in zip(current, pool.map(partial(_cancel, runner=runner), current), strict=True):
                if isinstance(found, LaunchError):
                    console.error(f"{run.spec.label}: {found}")
                elif found:
                    cancelled.add(run)
    closed: OperationalError | InterfaceError | None = None
    for run in current:
        # A database that does not answer is asked for one run only.
        if not isinstance(closed, Exception):
            closed = settle(partial(_close, run, runner, console, signal=terminated if run in cancelled else None), cause=cause)
        if isinstance(closed, Exception):
            remedy = "when it answers, run: python manage.py reconcile_runs --once"
            console.error(f"{run.spec.label}: {describe(closed)}; run {run.spec.run_id} may still be open; {remedy}")


def _cancel(run: _Submitted, *, runner: Runner) -> LaunchError | bool:
    """Whether the run was alive before, so that its end is that of this call. Its error if the end was not observed."""
    try:
        (before,) = runner.observe([run.handle])
        runner.cancel(run.handle, grace_seconds=CANCEL_GRACE_SECONDS)
    except LaunchError as error:
        return error
    return before.status is Status.ALIVE


def _close(run: _Submitted, runner: Runner, console: Console, *, signal: Terminated | None = None) -> None:
    """Finalize a run that its process left unfinished. Remove the working files of a success.

    signal: the signal for which this command ended the run. The run writes that itself, except before it handles signals.
    """
    spec = run.spec
    timed, ours = store.run_with_timers(spec.run_id), reconciler(lambda name: runner)
    if timed is not None and store.is_unfinished(spec):
        (observation,) = runner.observe([run.handle])
        # The run was submitted, even if the database write of that state failed.
        decision = ours.decide(timed, observation, runner, state=RunState.RUNNING)
        end = decision.diagnosis
        if signal and end.reason is Reason.KILLED:
            end = replace(end.after(f"{signal}, with its command"), reason=Reason.INTERRUPTED)
        detail = end.headline
        if decision.action is Action.FINALIZE:
            detail = ours.finalize(timed.run, spec, end, runner, report=observation.report).detail
        console.error(f"{spec.label}: {detail.splitlines()[0]}")
    elif not store.unsuccessful(spec):
        runner.cleanup(spec)


def _keep_alive(spec: RunSpec, queued: Collection[RunSpec]) -> bool:
    """Write heartbeats of the queued runs. False if this run has ended in the run store, or has no recent heartbeat."""

    def write() -> bool:
        store.heartbeat(list(queued))
        return store.is_unfinished(spec) and not store.is_silent(spec.run_id, settings.STALE_AFTER_SECONDS)

    alive = best_effort(write, otherwise=True)
    close_connection()
    raise_if_terminated()
    return alive
