"""Runs that end with the command. The command submits a certain number of them, follows each to its end, and then submits the next."""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from threading import Thread

from django.conf import settings

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.runners import reconciler
from gregory.management.termination import Terminated, persist, raise_if_terminated, settle, signal_behind
from gregory.reconcile.decide import Action
from gregory.reconcile.submit import CANCEL_GRACE_SECONDS, record_submission, request
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection
from gregory.runs.heartbeat import HEARTBEAT_SECONDS, every
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState

# After a signal, each run gets its grace period, a kill, and the time for its last rows.
END_SECONDS = CANCEL_GRACE_SECONDS + 30.0


def execute(opened: Sequence[RunSpec], runner: Runner, console: Console, *, at_once: int) -> None:
    """Execute every run, `at_once` of them at a time, and raise the first error. The runs that have not begun stay queued.

    A signal ends the current runs. After an error of one run, the other current ones are followed to their ends.
    """
    waiting = deque(opened)
    number = min(at_once, len(opened))
    if number > 1:
        _execute_together(waiting, number, partial(_run_one, queued=waiting, runner=runner, console=console))
    while waiting:
        _run_one(waiting.popleft(), waiting, runner, console)


def _execute_together(waiting: deque[RunSpec], number: int, run: Callable[[RunSpec], None]) -> None:
    """Run all in so many threads. Raises the first error of a thread, and Terminated."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while not errors and (spec := _next(waiting)):
                run(spec)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the command
            errors.append(error)
        finally:
            close_connection()

    close_connection()
    # A command must end after a signal although a file server hangs, so the interpreter does not wait for these threads.
    threads = [Thread(target=copy_context().run, args=(work,), daemon=True) for _ in range(number)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except Terminated:
        until = time.monotonic() + END_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
        raise
    if errors:
        raise errors[0]


def _next(waiting: deque[RunSpec]) -> RunSpec | None:
    with suppress(IndexError):
        return waiting.popleft()
    return None


def _run_one(spec: RunSpec, queued: Collection[RunSpec], runner: Runner, console: Console) -> None:
    if not persist(partial(store.is_unfinished, spec)):
        console.error(f"{spec.label}: run {spec.run_id} was ended while it was queued")
        return
    handle = request(spec, runner)
    if isinstance(handle, LaunchError):
        console.error(f"{spec.label}: {record_submission(spec, runner, handle).detail}")
        return
    close = partial(_close, spec, handle, runner, console)
    try:
        record_submission(spec, runner, handle, retry=persist)
        # The log is followed even if the run has already ended: it has the cause.
        close_connection()
        for line in runner.logs(spec, handle, waiting=_waiting(spec, queued)):
            console.show_line(line)
        persist(close)
    except BaseException as cause:
        if signal_behind(cause):
            _cancel(spec, handle, runner, console)
        closed = settle(close, cause=cause)
        if isinstance(closed, Exception):
            remedy = "when it answers, run: python manage.py reconcile_runs --once"
            console.error(f"{spec.label}: {describe(closed)}; run {spec.run_id} may still be open; {remedy}")
        raise


def _cancel(spec: RunSpec, handle: RunHandle, runner: Runner, console: Console) -> None:
    try:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
    except LaunchError as error:
        console.error(f"{spec.label}: {error}")


def _close(spec: RunSpec, handle: RunHandle, runner: Runner, console: Console) -> None:
    """Finalize a run that its process left unfinished. Remove the working files of a success."""
    timed, ours = store.run_with_timers(spec.run_id), reconciler(lambda name: runner)
    if timed is not None and store.is_unfinished(spec):
        (observation,) = runner.observe([handle])
        # The run was submitted, even if the database write of that state failed.
        decision = ours.decide(timed, observation, runner, state=RunState.RUNNING)
        detail = decision.diagnosis.headline
        if decision.action is Action.FINALIZE:
            detail = ours.finalize(timed.run, spec, decision.diagnosis, runner, report=observation.report).detail
        console.error(f"{spec.label}: {detail.splitlines()[0]}")
    elif not store.unsuccessful(spec):
        runner.cleanup(spec)


def _waiting(spec: RunSpec, queued: Collection[RunSpec]) -> Callable[[], bool]:
    """Whether the run may still work. Raises Terminated soon after a signal, which only the main thread receives."""
    keep_alive = every(HEARTBEAT_SECONDS, partial(_keep_alive, spec, queued))

    def may_work() -> bool:
        raise_if_terminated()
        return keep_alive()

    return may_work


def _keep_alive(spec: RunSpec, queued: Collection[RunSpec]) -> bool:
    """Write heartbeats of the queued runs. False if the current run has ended in the run store, or has no recent heartbeat."""

    def write() -> bool:
        store.heartbeat(list(queued))
        return store.is_unfinished(spec) and not store.is_silent(spec.run_id, settings.STALE_AFTER_SECONDS)

    alive = best_effort(write, otherwise=True)
    close_connection()
    return alive
