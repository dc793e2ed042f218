"""manage.py training_runs: list and show runs, print their logs, cancel and resume them."""

import time
from argparse import ArgumentParser
from functools import partial
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.management import run_logs
from gregory.management.account import operator
from gregory.management.command import ManagementCommand
from gregory.management.concurrent import situation
from gregory.management.database import again_if_lost, clear_database_errors, refuse_within_transaction
from gregory.management.runners import reconciler, runner_named
from gregory.management.termination import Terminated, signals_raise
from gregory.reporting.runs import as_json, everything, full_text, list_table, summaries
from gregory.runs import exit_codes, store
from gregory.runs.exit_codes import FAILURE, USAGE
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunKind
from gregory.runs.states import RunState
from gregory.runs.store import RunRefused
from gregory.training import resume

# Runs of a list without --limit, and at most.
LIMIT, MOST = 20, 1_000_000
CLEAR_DEPRECATED = "use: training_runs cancel --all --purge"
# A reconciler that observes the end of a run writes it within this time, also to a busy database.
FINALIZE_SECONDS = 15.0


class Command(ManagementCommand):
    """Exit code 0: done. After `logs --follow`: the run succeeded. 1: failure. 2: usage."""

    help = "List runs. Show one run in full, print or follow its log, cancel it or resume it. Cancel all runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One subcommand for each action. Most of them need the id of a run."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="{list,show,logs,cancel,retry}")
        listing = actions.add_parser("list", help="list runs: unfinished runs first, then the newest")
        listing.add_argument("--team", metavar="SLUG", help="only runs of this team")
        listing.add_argument("--subject", metavar="SLUG", help="only runs of subjects with this slug")
        listing.add_argument("--state", choices=[state.value for state in RunState], help="only runs in this state")
        listing.add_argument("--limit", type=int, default=LIMIT, metavar="N", help=f"list at most N runs (default {LIMIT})")
        showing = actions.add_parser("show", help="show all facts about a run")
        for one in (listing, showing):
            one.add_argument("--output", choices=["text", "json"], default="text", help="output format (default text)")
        logs = actions.add_parser("logs", help="print the log of the current attempt")
        logs.add_argument(
            "-f",
            "--follow",
            action="store_true",
            help="print all attempts until the run has ended; exit code 0 if it succeeded",
        )
        retrying = actions.add_parser("retry", help="the same as: train_models (or predict_articles) --resume RUN_ID")
        retrying.add_argument("--wait", action="store_true", help="return when the run has ended")
        for one in (showing, logs, retrying):
            one.add_argument("run_id", metavar="RUN_ID", help="id of the run, as `training_runs list` prints it")
        cancelling = actions.add_parser("cancel", help="cancel a run, or all runs; finished trainings keep their results")
        target = cancelling.add_mutually_exclusive_group(required=True)
        target.add_argument("run_id", nargs="?", metavar="RUN_ID", help="id of the run, as `training_runs list` prints it")
        target.add_argument("--all", action="store_true", dest="all_runs", help="cancel every unfinished run of GREGORY_RUNNER")
        cancelling.add_argument(
            "--purge",
            action="store_true",
            help="with --all: also remove all that the back end kept of ended runs; use it before you remove an installation",
        )
        # Without a help text, the list of subcommands leaves it out.
        actions.add_parser("clear", description=f"Deprecated: {CLEAR_DEPRECATED}")

    @clear_database_errors()
    def handle(self, *args: Any, **flags: Any) -> None:
        """Translate every expected error into one line and an exit code."""
        action = getattr(self, f"_{flags['action']}")
        try:
            action(flags)
        except (RunRefused, LaunchError) as error:
            raise CommandError(str(error), returncode=FAILURE) from error

    def _list(self, flags: dict[str, Any]) -> None:
        if not 1 <= flags["limit"] <= MOST:
            raise CommandError(f"--limit {flags['limit']} must be from 1 to {MOST}", returncode=USAGE)
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
            raise CommandError(f"{terminated}; the run continues", returncode=exit_codes.of_signal(terminated.number)) from terminated
        run = self._find(flags["run_id"])
        if run.state != RunState.SUCCEEDED:
            raise CommandError(f"run {run.run_id} {situation(run)}", returncode=FAILURE)
        self.stdout.write(f"run {run.run_id} {situation(run)}")

    def _cancel(self, flags: dict[str, Any]) -> None:
        refuse_within_transaction("training_runs cancel")
        if flags["purge"] and not flags["all_runs"]:
            raise CommandError("--purge needs --all: it removes the remains of every ended run from the back end", returncode=USAGE)
        if flags["all_runs"]:
            self._cancel_all(purge=flags["purge"])
        else:
            self._cancel_one(flags["run_id"])

    def _cancel_one(self, run_id: str) -> None:
        run = self._find(run_id)
        if RunState(run.state).is_final:
            raise CommandError(f"run {run_id} has already ended: {situation(run)}", returncode=FAILURE)
        change = reconciler().cancel(run, by=operator())
        run = self._find(run_id)
        # A reconciler may have observed the end at the same moment. It then writes the end, not this command.
        deadline = time.monotonic() + FINALIZE_SECONDS
        while not RunState(run.state).is_final and time.monotonic() < deadline:
            time.sleep(0.5)
            run = self._find(run_id)
        if not RunState(run.state).is_final:
            raise CommandError(
                f"run {run_id} was cancelled, but its end is not observed yet: {change.detail}; reconcile_runs finalizes the run later",
                returncode=FAILURE,
            )
        self.stdout.write(f"run {run_id} {situation(run)}")

    def _cancel_all(self, *, purge: bool) -> None:
        """Cancel the unfinished runs of this installation's runner. Runs of other runners continue."""
        runner = runner_named(settings.RUNNER)
        changes = reconciler(lambda name: runner).cancel_all(runner, by=operator())
        for run_id in [change.run.run_id for change in changes]:
            self.stdout.write(f"run {run_id} {situation(self._find(run_id))}")
        unfinished = [timed.run for timed in store.unfinished_runs()]
        if left := [run.run_id for run in unfinished if run.runner == runner.name]:
            raise CommandError(
                f"these runs were cancelled, but their end is not observed yet: {', '.join(left)}; repeat the command in a minute",
                returncode=FAILURE,
            )
        if purge:
            try:
                for name in runner.collect_garbage([run.run_id for run in unfinished], keep_seconds=0):
                    self.stdout.write(f"removed {name}")
            except OSError as error:
                raise CommandError(f"cannot remove the files of old runs: {error}", returncode=FAILURE) from error

    def _clear(self, flags: dict[str, Any]) -> None:
        self.stderr.write(f"WARNING training_runs clear is deprecated; {CLEAR_DEPRECATED}", self.style.WARNING)
        self._cancel_all(purge=True)

    def _retry(self, flags: dict[str, Any]) -> None:
        command = resume.COMMANDS[RunKind(self._find(flags["run_id"]).kind)]
        call_command(command, resume=flags["run_id"], wait=flags["wait"], stdout=self.stdout, stderr=self.stderr)

    def _find(self, run_id: str) -> TrainingRun:
        run = again_if_lost(partial(store.find_run, run_id))
        if run is None:
            self._unknown(run_id)
        return run

    def _unknown(self, run_id: str) -> NoReturn:
        newest = store.listed_runs(team=None, subject=None, state=None, limit=5)
        names = ", ".join(f"{run.run_id} ({store.label_of(run)})" for run in newest)
        raise CommandError(f"there is no run {run_id}; the newest: {names or 'none'}", returncode=USAGE)

    def _runner(self, run: TrainingRun) -> Runner:
        return runner_named(run.runner)


def _commands(run: TrainingRun) -> list[str]:
    """Commands that inspect the run in its back end. Empty if the run was not submitted, or if this version has no such runner."""
    if run.submitted_at is None and run.started_at is None:
        return []
    try:
        return runner_named(run.runner).debug_commands(store.attempt_of(run), store.handle_of(run))
    except LaunchError:
        return []
