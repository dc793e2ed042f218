"""`manage.py import_articles`: import labelled articles from a CSV file into one subject. `gregory.data.csv_import` has the rules."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gregory.data.csv_import import ImportRefused, read_csv
from gregory.data.store import SlugRefused, import_rows
from gregory.management.command import ManagementCommand
from gregory.management.database import clear_database_errors
from gregory.output import counted
from gregory.runs.exit_codes import USAGE


class Command(ManagementCommand):
    """Reads a whole file, then stores all of its articles or none."""

    help = (
        "Import articles and their labels into one subject from a CSV file with the columns article_id (or pmid, id), title and "
        "summary (or abstract). The columns relevant (or label) and discovery_date are optional. The whole file is imported, or nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The file and its subject."""
        parser.add_argument("file", type=Path, metavar="FILE.csv", help="CSV file in UTF-8 with a header line")
        parser.add_argument("--team", required=True, metavar="SLUG", help="team that reviews the articles; created if missing")
        parser.add_argument("--subject", required=True, metavar="SLUG", help="subject of the reviews; created if missing")

    @clear_database_errors()
    def handle(self, *, file: Path, team: str, subject: str, verbosity: int, **options: Any) -> None:
        """Import and print the counts. Exit code FAILURE: refused. USAGE: a slug is not usable."""
        try:
            rows = read_csv(file)
            result = import_rows(rows, team_slug=team, subject_slug=subject)
        except SlugRefused as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except ImportRefused as error:
            raise CommandError(f"nothing was imported\n{error}") from error
        if verbosity < 1:
            return
        relevant = sum(row.label is True for row in rows)
        self.stdout.write(
            f"{team}/{subject}: {counted(result.created, 'article')} new, {result.updated} updated, {result.unchanged} unchanged; "
            f"{result.labelled} with a label ({relevant} relevant), {result.unlabelled} without"
        )
        if not result.labelled:
            self.stderr.write(
                self.style.WARNING(f"no line of {file} has a label (column relevant or label); training learns from labelled articles only")
            )
        if result.summaries_kept:
            self.stderr.write(self.style.WARNING(f"the database keeps its other summary of {counted(result.summaries_kept, 'article')}"))
