"""manage.py reconcile_runs: finalize runs that have terminated, or retry them."""

import signal
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, connection

from gregory.database import waits
from gregory.launch.errors import LaunchError
from gregory.management.command import ManagementCommand
from gregory.management.database import clear_database_errors, describe, refuse_within_transaction
from gregory.management.liveness import LivenessFile
from gregory.management.metrics_server import ReconcilerMetrics, served_metrics
from gregory.management.notifications import Notifier
from gregory.management.runners import reconciler
from gregory.management.unreachable import UnreachableTracker
from gregory.output import counted
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.reporting.notices import UnusableTemplates, check_templates
from gregory.runs import store
from gregory.runs.db_retry import close_connection
from gregory.runs.exit_codes import FAILURE, USAGE
from gregory.shutdown import ShutdownRequest
from gregory.training import resume

INTERVAL_SECONDS = 15
# Interval between removals of old files. They only use disk space until then.
GARBAGE_SECONDS = 600
# A single pass waits this long for the answers to its submissions, because no later pass of this process records them.
ONCE_SUBMISSION_SECONDS = 120.0


class Command(ManagementCommand):
    """Reconciles every unfinished run. Ends only runs that have certainly terminated, with the reason, or retries them."""

    help = "Close the rows of terminated runs, with the reason, or retry runs that the cluster removed. Other runs stay unchanged."

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._reconciler = reconciler()
        self._notifier = Notifier.of(settings.ENVIRONMENT)
        self._garbage_error = ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One pass for a schedule (cron, a timer), or a loop. Several of these commands may run at a time."""
        parser.add_argument("--once", action="store_true", help="make one pass and end")
        parser.add_argument(
            "--interval",
            type=_seconds,
            default=INTERVAL_SECONDS,
            metavar="SECONDS",
            help=f"pause between two passes (default {INTERVAL_SECONDS})",
        )

    def handle(self, *args: Any, **flags: Any) -> None:
        """Exit code SUCCESS, also if runs were ended. A pass with `--once` fails if the program itself failed for a run."""
        refuse_within_transaction("reconcile_runs")
        if templates := settings.ENVIRONMENT.GREGORY_NOTIFY_TEMPLATES:
            try:
                check_templates(templates)
            except UnusableTemplates as error:
                raise CommandError(f"GREGORY_NOTIFY_TEMPLATES: {error}", returncode=USAGE) from error
        if flags["once"]:
            self._once()
            return
        shutdown = ShutdownRequest()
        shutdown.listen((signal.SIGINT, signal.SIGTERM))
        try:
            with (
                served_metrics(host=settings.METRICS_HOST, port=settings.METRICS_PORT) as metrics,
                waits.shortened_by(lambda: shutdown.requested),
            ):
                self._loop(flags["interval"], shutdown, metrics)
        except OSError as error:
            address = f"{settings.METRICS_HOST}:{settings.METRICS_PORT}"
            raise CommandError(f"cannot serve the metrics at {address} (GREGORY_METRICS_PORT): {error}", returncode=FAILURE) from error

    @clear_database_errors()
    def _once(self) -> None:
        """Make one pass. Print a line for each unfinished run."""
        changes = []
        for change in self._reconciler.reconcile_once(submission_seconds=ONCE_SUBMISSION_SECONDS):
            changes.append(change)
            self.stdout.write(self._line(change))
            self._write_traceback(change)
        closed = sum(change.action in (ResultKind.CLOSED, ResultKind.SUCCEEDED) for change in changes)
        self.stdout.write(f"{counted(len(changes), 'unfinished run')}, {closed} closed")
        for unsent in self._notifier.tell():
            self.stderr.write(unsent)
        self._collect_garbage()
        if failed := [change.run.run_id for change in changes if change.action is ResultKind.ERROR]:
            raise CommandError(f"these runs could not be reconciled: {', '.join(failed)}", returncode=FAILURE)

    def _loop(self, interval: int, shutdown: ShutdownRequest, metrics: ReconcilerMetrics | None = None) -> None:
        """Print a line for each change. Print and repeat a pass that fails. SIGTERM ends the loop between two runs.

        The liveness file is touched after each run and each pass, also one that fails: a loop that repeats is not hung.
        """
        try:
            liveness = LivenessFile(settings.LIVENESS_FILE)
        except OSError as error:
            raise CommandError(f"GREGORY_LIVENESS_FILE: {error}", returncode=FAILURE) from error
        # The process may have been restarted because the database was away.
        store.note_outage()
        last_error, until_garbage = "", 0
        printed: dict[str, str] = {}
        unreachable = UnreachableTracker()
        while not shutdown.requested:
            try:
                begun = time.monotonic()
                changes: dict[str, ReconcileResult] = {}
                lines: dict[str, str] = {}
                for change in self._reconciler.reconcile_once():
                    changes[change.run.run_id], lines[change.run.run_id] = change, self._print_if_new(change, printed)
                    liveness.beat()
                    if shutdown.reason:
                        # A pass may end after any run. The next reconciler continues.
                        return
                printed = lines
                if message := unreachable.after(list(changes.values()), now=datetime.now(UTC)):
                    self.stderr.write(message)
                for unsent in self._notifier.tell_if_due():
                    self.stderr.write(unsent)
                until_garbage -= interval
                if until_garbage <= 0:
                    self._collect_garbage()
                    until_garbage = GARBAGE_SECONDS
                if metrics is not None:
                    metrics.passed(list(changes.values()), seconds=time.monotonic() - begun)
                    metrics.refresh()
                last_error = ""
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if metrics is not None:
                    metrics.failed()
                if describe(error) != last_error:
                    last_error = describe(error)
                    self.stderr.write(f"{last_error}; the next pass is in {interval} s")
            close_connection()
            liveness.beat()
            shutdown.wait(interval)

    def _print_if_new(self, change: ReconcileResult, printed: dict[str, str]) -> str:
        """The line of this run. Print it if the run changed, or if the cause of a delay differs from the last pass. Else empty."""
        if not (change.is_new or change.is_delayed):
            return ""
        line = self._line(change)
        if change.is_new or printed.get(change.run.run_id) != line:
            self.stdout.write(line)
            self._write_traceback(change)
        return line

    def _write_traceback(self, change: ReconcileResult) -> None:
        if change.traceback:
            self.stderr.write(f"run {change.run.run_id}: {change.traceback}")

    def _line(self, change: ReconcileResult) -> str:
        ended = store.find_run(change.run.run_id) if change.action is ResultKind.CLOSED else None
        try:
            hint = resume.hint(ended, self._reconciler)
        except (LaunchError, OSError):
            # The end of the run is more important than the hint.
            hint = ""
        return "; ".join(part for part in (str(change), hint) if part)

    def _collect_garbage(self) -> None:
        try:
            for name in self._reconciler.collect_garbage():
                self.stdout.write(f"removed {name}")
        except OSError as error:
            # Old files must not stop the reconciliation of runs.
            if str(error) != self._garbage_error:
                self.stderr.write(f"cannot remove the files of old runs: {error}")
            self._garbage_error = str(error)
        else:
            self._garbage_error = ""


def _seconds(text: str) -> int:
    seconds = int(text)
    if seconds < 1:
        raise ValueError(text)
    return seconds
