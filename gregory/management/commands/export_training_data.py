"""`manage.py export_training_data`: the labelled articles of a training as GregoryAI's CSV files, one per subject."""

from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from gregory.data import corpus, dataset_csv, store
from gregory.management.command import ManagementCommand
from gregory.management.database import clear_database_errors
from gregory.ml.config import Hyperparameters
from gregory.runs.db_retry import read_only_transaction, retry_on_disconnect
from gregory.runs.exit_codes import FAILURE, USAGE
from gregory.runs.spec import TrainSpec
from gregory.training import planning, request
from gregory.training.flags import ScopeFlags, TrainFlags, add_arguments


class Command(ManagementCommand):
    """Exports the articles that train_models uses with the same flags. Both commands have one selector."""

    help = (
        "Export the labelled articles that train_models would use, as CSV files with the columns article_id, text and relevant. "
        "import_articles reads these files. A training on the other machine then has the same data set."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The scope flags of train_models, but a team is required. Then the folder."""
        add_arguments(parser, ScopeFlags, required={"team"}, without={"all_teams"})
        parser.add_argument(
            "--output-dir", type=Path, default=Path("datasets"), metavar="DIR", help="folder for the files (default datasets)"
        )

    @clear_database_errors()
    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 1: nothing to export, or no folder. 2: usage."""
        folder: Path = options["output_dir"]
        specs = self._plan(ScopeFlags.from_options(options))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            exported = [self._export(spec, folder) for spec in specs]
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}; choose another --output-dir", returncode=FAILURE) from error
        if not any(exported):
            raise CommandError("nothing was exported: no labelled articles", returncode=FAILURE)

    def _plan(self, scope: ScopeFlags) -> list[TrainSpec]:
        try:
            wanted = request.from_flags(TrainFlags(**asdict(scope)), hyperparameters=Hyperparameters())
            return planning.plan(wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=False)
        except request.UsageError as error:
            raise CommandError(str(error), returncode=USAGE) from error

    def _export(self, spec: TrainSpec, folder: Path) -> bool:
        path = folder / f"{spec.team.slug}_{spec.subject.slug}_{timezone.now().astimezone(UTC):%Y%m%d}.csv"

        def write() -> tuple[int, int]:
            with read_only_transaction():
                articles = corpus.labelled(spec.subject.id, spec.window.cutoff)
                return dataset_csv.write(path, articles, source_ids=store.source_ids(spec.subject.id))

        # A lost connection begins the file again. Its name appears only when it is complete.
        relevant, not_relevant = retry_on_disconnect(write)
        if not relevant + not_relevant:
            path.unlink()
            self.stderr.write(f"{spec.label}: no labelled article; {spec.window.description}", self.style.WARNING)
            return False
        self.stdout.write(
            f"{spec.label}: {relevant} relevant and {not_relevant} not relevant articles to {path}; {spec.window.description}"
        )
        return True
