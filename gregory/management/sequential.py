"""Runs of a machine that takes one at a time: each is submitted when the one before has ended, and followed to its end."""

from dataclasses import replace
from functools import partial

from django.conf import settings

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.management.console import Console
from gregory.management.termination import Terminated
from gregory.reconcile import loop
from gregory.reconcile.decide import Action, decide
from gregory.reconcile.finalize import finalize_dead_run
from gregory.reconcile.submit import CANCEL_GRACE_SECONDS, record_submission, request
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection, retry_on_disconnect
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.heartbeat import HEARTBEAT_SECONDS, every
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState


def execute(opened: list[RunSpec], runner: Runner, console: Console) -> None:
    """Every run in turn. Raises Terminated when no run is left that works or waits."""
    waiting = list(opened)
    try:
        while waiting:
            _run_one(waiting.pop(0), waiting, runner, console)
    except Terminated as terminated:
        for spec in waiting:
            store.end_run(spec, RunState.CANCELLED, Diagnosis(summary=f"{terminated} before it was started", reason=Reason.INTERRUPTED))
        raise


def _run_one(spec: RunSpec, behind: list[RunSpec], runner: Runner, console: Console) -> None:
    if not retry_on_disconnect(partial(store.is_unfinished, spec)):
        console.error(f"{spec.label}: run {spec.run_id} was ended while it was queued")
        return
    handle = request(spec, runner)
    if isinstance(handle, LaunchError):
        console.error(f"{spec.label}: {record_submission(spec, runner, handle).detail}")
        return
    try:
        # Whatever comes of it, its log is followed to the end: it may have ended by itself already.
        record_submission(spec, runner, handle)
        close_connection()
        waiting = every(HEARTBEAT_SECONDS, partial(best_effort, partial(_tend, spec, behind), otherwise=True))
        for line in runner.logs(spec, handle, waiting=waiting):
            console.show_line(line)
    except Terminated:
        runner.cancel(handle, grace_seconds=CANCEL_GRACE_SECONDS)
        raise
    finally:
        retry_on_disconnect(partial(_account_for, spec, handle, runner, console))


def _account_for(spec: RunSpec, handle: RunHandle, runner: Runner, console: Console) -> None:
    """After a run's process: close what it could not close itself, or put away what a good end leaves."""
    standing = store.run_with_timers(spec.run_id)
    if standing is not None and store.is_unfinished(spec):
        (observation,) = runner.observe([handle])
        models_dir = settings.MODELS_DIR
        facts = loop.snapshot_of(standing, observation, runner, models_dir=models_dir, stale_after=settings.STALE_AFTER_SECONDS)
        # Whatever the ledger was told, this run was handed over.
        verdict = decide(observation, replace(facts, state=RunState.RUNNING))
        detail = verdict.diagnosis.headline
        if verdict.action is Action.FINALIZE:
            detail = finalize_dead_run(
                standing.run, spec, verdict.diagnosis, runner, report=observation.report, models_dir=models_dir
            ).detail
        console.error(f"{spec.label}: {detail.splitlines()[0]}")
    elif not store.unsuccessful(spec):
        runner.cleanup(spec)


def _tend(spec: RunSpec, behind: list[RunSpec]) -> bool:
    """Keep the queued runs alive; whether the one in front may still be at work, as far as the ledger knows."""
    try:
        store.heartbeat(behind)
        return store.is_unfinished(spec) and not store.is_silent(spec.run_id, settings.STALE_AFTER_SECONDS)
    finally:
        close_connection()
