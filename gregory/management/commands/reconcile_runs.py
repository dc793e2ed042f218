"""manage.py reconcile_runs: close the rows of runs that nobody carries out any more."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from gregory import resume
from gregory.management.database import clear_database_errors
from gregory.management.runners import runner_named
from gregory.reconcile import reconcile, sweep


class Command(BaseCommand):
    """Looks at every unfinished run; closes only what is known to be dead, with the reason."""

    help = "Close the rows of runs whose process is gone, with the reason; runs that may be alive are left alone."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One pass; a schedule (cron, a timer) repeats it."""
        parser.add_argument("--once", action="store_true", help="look once and end, which is all that this version does")

    @clear_database_errors()
    def handle(self, *args: Any, **flags: Any) -> None:
        """A line per unfinished run; exit code 0 also when something had to be closed."""
        decided = reconcile(runner_named, models_dir=settings.MODELS_DIR, stale_after=settings.STALE_AFTER_SECONDS)
        for run, verdict in decided:
            label = f"{run.spec['team']['slug']}/{run.spec['subject']['slug']}"
            action = "left alone" if verdict.reason is None else f"closed ({verdict.reason})"
            line = f"{run.run_id} {label}: {action}: {verdict.detail}"
            hint = "" if verdict.reason is None else resume.hint(run.run_id, models_dir=settings.MODELS_DIR)
            self.stdout.write("; ".join(part for part in (line, hint) if part))
        closed = sum(verdict.reason is not None for _, verdict in decided)
        self.stdout.write(f"{len(decided)} unfinished runs, {closed} closed")
        for what in sweep(runner_named):
            self.stdout.write(f"removed {what}")
