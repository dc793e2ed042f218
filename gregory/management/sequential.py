"""Runs of a back end that executes one at a time. Each is submitted after the one before has ended, and followed to its end."""

from functools import partial

from django.conf import settings

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.runners import reconciler
from gregory.management.termination import persist, raise_if_terminated, settle, signal_behind
from gregory.reconcile.decide import Action
from gregory.reconcile.submit import CANCEL_GRACE_SECONDS, record_submission, request
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection
from gregory.runs.heartbeat import HEARTBEAT_SECONDS, every
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState


def execute(opened: list[RunSpec], runner: Runner, console: Console) -> None:
    """Execute every run. After a signal or an error it ends the current run and raises the exception. The others stay queued."""
    waiting = list(opened)
    while waiting:
        _run_one(waiting.pop(0), waiting, runner, console)


def _run_one(spec: RunSpec, queued: list[RunSpec], runner: Runner, console: Console) -> None:
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
        for line in runner.logs(spec, handle, waiting=every(HEARTBEAT_SECONDS, partial(_keep_alive, spec, queued))):
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


def _keep_alive(spec: RunSpec, queued: list[RunSpec]) -> bool:
    """Write heartbeats of the queued runs. False if the current run has ended in the run store, or has no recent heartbeat."""

    def write() -> bool:
        store.heartbeat(queued)
        return store.is_unfinished(spec) and not store.is_silent(spec.run_id, settings.STALE_AFTER_SECONDS)

    alive = best_effort(write, otherwise=True)
    close_connection()
    raise_if_terminated()
    return alive
