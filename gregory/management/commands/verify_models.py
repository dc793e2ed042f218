"""manage.py verify_models: compare every version folder with its manifest and with its row."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from gregory.management.command import ManagementCommand
from gregory.management.database import clear_database_errors
from gregory.management.model_rows import contradictions
from gregory.ml import artifacts
from gregory.runs.exit_codes import FAILURE


class Command(ManagementCommand):
    """Reads every byte of every version folder. Exit code 0: no difference. 1: a difference, or no answer of the database. 2: usage."""

    help = "Compare every version folder with its manifest and with its row, and print the differences. Exit code 1 if there are any."

    @clear_database_errors()
    def handle(self, *args: Any, **flags: Any) -> None:
        """Print a line per problem, then the count."""
        models_dir = settings.MODELS_DIR
        problems: list[str] = []
        folders = list(artifacts.version_folders(models_dir, lambda error: problems.append(f"cannot be listed: {error}")))
        for folder in folders:
            problems += _defects(folder)
        problems += contradictions(models_dir, folders)
        for problem in problems:
            self.stdout.write(self.style.ERROR(problem))
        if problems:
            raise CommandError(f"{len(problems)} problems in {len(folders)} version folders", returncode=FAILURE)
        self.stdout.write(self.style.SUCCESS(f"{len(folders)} version folders, all complete and unchanged"))


def _defects(folder: Path) -> list[str]:
    """The problems of one version folder. An error of one folder must not hide the problems of the others."""
    try:
        return [*artifacts.verify(folder), *artifacts.misplaced(folder)]
    except OSError as error:
        return [f"{folder}: cannot be read: {error}"]
