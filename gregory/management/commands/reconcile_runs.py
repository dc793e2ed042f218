"""manage.py reconcile_runs: rows of runs that nobody carries out any more end, or go on in another attempt."""

import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, connection

from gregory.management.database import clear_database_errors, describe
from gregory.management.runners import runner_named
from gregory.management.unreachable import UnreachableTracker
from gregory.reconcile import loop
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import store
from gregory.runs.db_retry import close_connection
from gregory.runs.states import RunState
from gregory.shutdown import ShutdownRequest
from gregory.training import resume

INTERVAL_SECONDS = 15
# What old runs left is looked through as often as this; how often does not matter to anybody.
SWEEP_SECONDS = 600


class Command(BaseCommand):
    """Looks at every unfinished run; ends only what is known to be dead, with the reason, or starts it again."""

    help = "End the rows of runs that died, with the reason, or try those again that their cluster took away; others are left alone."
    requires_system_checks = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # One runner of a kind for all looks: it may hold a connection.
        self._runner_for = cache(runner_named)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Once for a schedule (cron, a timer), or for ever; any number of them may work at once."""
        parser.add_argument("--once", action="store_true", help="look once and end")
        parser.add_argument(
            "--interval",
            type=_seconds,
            default=INTERVAL_SECONDS,
            metavar="SECONDS",
            help=f"pause between looks (default {INTERVAL_SECONDS})",
        )

    def handle(self, *args: Any, **flags: Any) -> None:
        """Exit code 0 also when something had to be ended."""
        if flags["once"]:
            self._once()
        else:
            self._for_ever(flags["interval"])

    @clear_database_errors()
    def _once(self) -> None:
        """A line per unfinished run."""
        changes = []
        for change in self._look():
            changes.append(change)
            self.stdout.write(self._line(change))
        closed = sum(change.action in (ResultKind.CLOSED, ResultKind.SUCCEEDED) for change in changes)
        self.stdout.write(f"{len(changes)} unfinished runs, {closed} closed")
        self._sweep()

    def _for_ever(self, interval: int) -> None:
        """A line per change. A pass that fails is said and repeated; SIGTERM ends it between two passes."""
        shutdown = ShutdownRequest()
        shutdown.listen((signal.SIGINT, signal.SIGTERM))
        trouble, until_sweep = "", 0
        told: dict[str, str] = {}
        sight = UnreachableTracker()
        while not shutdown.requested:
            try:
                changes: dict[str, ReconcileResult] = {}
                lines: dict[str, str] = {}
                for change in self._look():
                    changes[change.run.run_id], lines[change.run.run_id] = change, self._tell(change, told)
                told = lines
                if words := sight.after(list(changes.values()), now=datetime.now(UTC)):
                    self.stderr.write(words)
                until_sweep -= interval
                if until_sweep <= 0:
                    self._sweep()
                    until_sweep = SWEEP_SECONDS
                trouble = ""
            except (DatabaseError, InterfaceError) as error:
                connection.close()
                if describe(error) != trouble:
                    trouble = describe(error)
                    self.stderr.write(f"{trouble}; trying again every {interval} s")
            close_connection()
            shutdown.wait(interval)

    def _look(self) -> Iterator[ReconcileResult]:
        return loop.reconcile_once(self._runner_for, models_dir=settings.MODELS_DIR, stale_after=settings.STALE_AFTER_SECONDS)

    def _tell(self, change: ReconcileResult, told: dict[str, str]) -> str:
        """A line if something was written, or if what keeps a run from being looked at is news."""
        line = self._line(change)
        held_up = change.action is ResultKind.UNSEEN or (change.action is ResultKind.LEFT and change.run.state == RunState.PENDING)
        if change.is_new or (held_up and told.get(change.run.run_id) != line):
            self.stdout.write(line)
        return line

    def _line(self, change: ReconcileResult) -> str:
        ended = store.find_run(change.run.run_id) if change.action is ResultKind.CLOSED else None
        hint = resume.hint(ended, self._runner_for, models_dir=settings.MODELS_DIR)
        return "; ".join(part for part in (str(change), hint) if part)

    def _sweep(self) -> None:
        try:
            for what in loop.collect_garbage(self._runner_for):
                self.stdout.write(f"removed {what}")
        except OSError as error:
            # Runs are looked after all the same.
            self.stderr.write(f"cannot remove what old runs left: {error}")


def _seconds(text: str) -> int:
    seconds = int(text)
    if seconds < 1:
        raise ValueError(text)
    return seconds
