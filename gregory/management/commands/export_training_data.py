"""`manage.py export_training_data`: what a training would learn from, as GregoryAI's CSV files, one per subject."""

from datetime import UTC
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from gregory.data import corpus, dataset_csv
from gregory.management.database import clear_database_errors
from gregory.ml.config import DEFAULT_LOOKBACK_DAYS, Hyperparameters
from gregory.runs.db_retry import read_only_transaction
from gregory.runs.spec import RunSpec
from gregory.training import planning, request

FAILURE, USAGE = 1, 2


class Command(BaseCommand):
    """The same rows as train_models takes with the same flags: one selector serves both."""

    help = (
        "Export labelled articles as CSV files with the columns article_id, text, relevant: the rows that train_models would learn from. "
        "import_articles reads them on another machine, and a training there gets the same data set."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """GregoryAI's flags."""
        parser.add_argument("--team", required=True, metavar="SLUG", help="export the subjects of this team")
        parser.add_argument("--subject", metavar="SLUG", help="export this subject of the team only")
        parser.add_argument("--all-articles", action="store_true", help="every labelled article, whatever its age")
        parser.add_argument(
            "--lookback-days", type=int, metavar="N", help=f"articles discovered in the last N days (default {DEFAULT_LOOKBACK_DAYS})"
        )
        parser.add_argument(
            "--output-dir", type=Path, default=Path("datasets"), metavar="DIR", help="folder for the files (default datasets)"
        )

    @clear_database_errors()
    def handle(self, *args: Any, **flags: Any) -> None:
        """Exit code 1 if nothing was there to export, 2 for flags that mean nothing."""
        folder: Path = flags["output_dir"]
        specs = self._plan(flags)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            exported = [self._export(spec, folder) for spec in specs]
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}; choose another --output-dir", returncode=FAILURE) from error
        if not any(exported):
            raise CommandError("nothing was exported: no labelled articles", returncode=FAILURE)

    def _plan(self, flags: dict[str, Any]) -> list[RunSpec]:
        unasked = {"all_teams": False, "algo": None, "prob_threshold": None, "model_version": None, "pseudo_label": False, "verbose": 1}
        try:
            wanted = request.from_flags({**flags, **unasked}, hyperparameters=Hyperparameters())
            return planning.plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=False)
        except request.UsageError as error:
            raise CommandError(str(error), returncode=USAGE) from error

    def _export(self, spec: RunSpec, folder: Path) -> bool:
        path = folder / f"{spec.team.slug}_{spec.subject.slug}_{timezone.now().astimezone(UTC):%Y%m%d}.csv"
        with read_only_transaction():
            relevant, not_relevant = dataset_csv.write(path, corpus.labelled(spec.subject.id, spec.window.cutoff))
        if not relevant + not_relevant:
            path.unlink()
            self.stderr.write(self.style.WARNING(f"{spec.label}: no labelled article; {spec.window.description}"))
            return False
        self.stdout.write(
            f"{spec.label}: {relevant} relevant and {not_relevant} not relevant articles to {path}; {spec.window.description}"
        )
        return True
