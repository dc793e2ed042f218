"""manage.py training_runs: look at runs, follow their logs, cancel them, try them again, clear them away."""

import getpass
import socket
import time
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from pydantic import ValidationError

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.management import run_logs
from gregory.management.concurrent import situation
from gregory.management.database import clear_database_errors
from gregory.management.runners import runner_named
from gregory.management.termination import Terminated, signals_raise
from gregory.reconcile.cancel_all import cancel_all
from gregory.reconcile.terminate import cancel
from gregory.reporting.runs import as_json, everything, full_text, list_table, summaries
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import RunRefused

FAILURE, USAGE = 1, 2
LIMIT = 20
# Whoever saw it go writes that at once; a busy database takes its time.
OTHERS_SECONDS = 15.0


class Command(BaseCommand):
    """Exit code 0: done, and for a log that was followed: succeeded; 1: not; 2: usage."""

    help = "List runs, show everything that is known of one, print or follow its log, cancel it, try it again; clear all away."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """A verb, and for most the run's id."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,logs,cancel,retry,clear}")
        listing = actions.add_parser("list", help="runs, those that have not ended first, then the newest")
        listing.add_argument("--team", metavar="SLUG", help="of this team")
        listing.add_argument("--subject", metavar="SLUG", help="of subjects with this slug")
        listing.add_argument("--state", choices=[state.value for state in RunState], help="in this state")
        listing.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"at most so many (default {LIMIT})")
        showing = actions.add_parser("show", help="everything that is known of a run")
        for one in (listing, showing):
            one.add_argument("--output", choices=["text", "json"], default="text", help="form of what is printed")
        logs = actions.add_parser("logs", help="what the run's present attempt has said so far")
        logs.add_argument(
            "-f",
            "--follow",
            action="store_true",
            help="go on until the run has ended, through all its attempts; exit code 0 if it succeeded",
        )
        cancelling = actions.add_parser("cancel", help="end a run; what it has finished stays")
        retrying = actions.add_parser("retry", help="the same as: train_models --resume RUN_ID")
        retrying.add_argument("--wait", action="store_true", help="return when it has ended")
        actions.add_parser("clear", help="cancel every run and remove what its machine has kept, before an installation is taken down")
        for one in (showing, logs, cancelling, retrying):
            one.add_argument("run_id", metavar="RUN_ID")

    @clear_database_errors()
    def handle(self, *args: Any, **flags: Any) -> None:
        """Translate every expected problem into one clear line and the right exit code."""
        action = getattr(self, f"_{flags['action']}")
        try:
            action(flags)
        except (RunRefused, LaunchError) as error:
            raise CommandError(str(error), returncode=FAILURE) from error

    def _list(self, flags: dict[str, Any]) -> None:
        if flags["limit"] < 1:
            raise CommandError(f"--limit {flags['limit']} must be at least 1", returncode=USAGE)
        state = RunState(flags["state"]) if flags["state"] else None
        runs = store.listed_runs(team=flags["team"], subject=flags["subject"], state=state, limit=flags["limit"])
        if flags["output"] == "json":
            self.stdout.write(as_json(summaries(runs)))
        else:
            self.stdout.write(list_table(runs) if runs else "no run")

    def _show(self, flags: dict[str, Any]) -> None:
        run = self._find(flags["run_id"])
        facts = everything(run, _commands(run))
        self.stdout.write(as_json(facts) if flags["output"] == "json" else full_text(facts))

    def _logs(self, flags: dict[str, Any]) -> None:
        run = self._find(flags["run_id"])
        if not flags["follow"]:
            for line in run_logs.so_far(run, self._runner(run)):
                self.stdout.write(line)
            return
        try:
            with signals_raise():
                for line in run_logs.to_the_end(run.run_id, self._runner(run), runner_named):
                    self.stdout.write(line)
        except Terminated as terminated:
            raise CommandError(f"{terminated}; the run goes on", returncode=128 + terminated.number) from terminated
        run = self._find(flags["run_id"])
        if run.state != RunState.SUCCEEDED:
            raise CommandError(f"run {run.run_id} {situation(run)}", returncode=FAILURE)
        self.stdout.write(f"run {run.run_id} {situation(run)}")

    def _cancel(self, flags: dict[str, Any]) -> None:
        run = self._find(flags["run_id"])
        if RunState(run.state).is_final:
            raise CommandError(f"run {run.run_id} has ended already: {situation(run)}", returncode=FAILURE)
        change = cancel(run, self._runner(run), by=_asker(), models_dir=settings.MODELS_DIR)
        run = self._find(flags["run_id"])
        # A reconciler that looked at the same moment may be the one that saw it go, and is about to write that.
        deadline = time.monotonic() + OTHERS_SECONDS
        while not RunState(run.state).is_final and time.monotonic() < deadline:
            time.sleep(0.5)
            run = self._find(flags["run_id"])
        if not RunState(run.state).is_final:
            raise CommandError(
                f"run {run.run_id} is asked to end and has not been seen gone: {change.detail}; reconcile_runs closes it when it is",
                returncode=FAILURE,
            )
        self.stdout.write(f"run {run.run_id} {situation(run)}")

    def _clear(self, flags: dict[str, Any]) -> None:
        """Of the runner that this installation uses: no other machine is taken down with it."""
        runner = runner_named(settings.RUNNER)
        changes = cancel_all(runner, by=_asker(), models_dir=settings.MODELS_DIR, stale_after=settings.STALE_AFTER_SECONDS)
        for run_id in [change.run.run_id for change in changes]:
            self.stdout.write(f"run {run_id} {situation(self._find(run_id))}")
        unfinished = [standing.run for standing in store.unfinished_runs()]
        if left := [run.run_id for run in unfinished if run.runner == runner.name]:
            raise CommandError(f"asked to end, and not seen gone: {', '.join(left)}; try again in a while", returncode=FAILURE)
        for what in runner.collect_garbage([run.run_id for run in unfinished], keep_seconds=0):
            self.stdout.write(f"removed {what}")

    def _retry(self, flags: dict[str, Any]) -> None:
        self._find(flags["run_id"])
        call_command("train_models", resume=flags["run_id"], wait=flags["wait"], stdout=self.stdout, stderr=self.stderr)

    def _find(self, run_id: str) -> TrainingRun:
        run = store.find_run(run_id)
        if run is None:
            self._unknown(run_id)
        return run

    def _unknown(self, run_id: str) -> NoReturn:
        newest = store.listed_runs(team=None, subject=None, state=None, limit=5)
        names = ", ".join(f"{run.run_id} ({run.spec['team']['slug']}/{run.spec['subject']['slug']})" for run in newest)
        raise CommandError(f"there is no run {run_id}; the newest: {names or 'none'}", returncode=USAGE)

    def _runner(self, run: TrainingRun) -> Runner:
        return runner_named(run.runner)


def _asker() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _commands(run: TrainingRun) -> list[str]:
    """None where nothing was handed over, or where that was another version's: the ledger's facts are shown all the same."""
    if run.submitted_at is None and run.started_at is None:
        return []
    try:
        return runner_named(run.runner).debug_commands(RunSpec.model_validate(run.spec), store.handle_of(run))
    except (LaunchError, ValidationError):
        return []
