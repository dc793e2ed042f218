"""`manage.py import_articles`: labelled articles from a CSV file into one subject. The rules are in `gregory.data.csv_import`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gregory.data.csv_import import ImportRefused, read_csv
from gregory.data.store import SlugRefused, import_rows


class Command(BaseCommand):
    """Read a whole file, then store all of it or nothing."""

    help = (
        "Import articles and their labels into one subject from a CSV file with the columns article_id (or pmid, id), title, summary (or "
        "abstract) and, where there are any, relevant (or label) and discovery_date. All of the file is imported, or nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """One file, one subject."""
        parser.add_argument("file", type=Path, metavar="FILE.csv", help="UTF-8 with a header line")
        parser.add_argument("--team", required=True, metavar="SLUG", help="team that reviews the articles; made if missing")
        parser.add_argument("--subject", required=True, metavar="SLUG", help="subject they are reviewed for; made if missing")

    def handle(self, *, file: Path, team: str, subject: str, verbosity: int, **options: Any) -> None:
        """Import and say what came of it. Exit code 1: refused, 2: a slug cannot be used."""
        try:
            rows = read_csv(file)
            result = import_rows(rows, team_slug=team, subject_slug=subject)
        except SlugRefused as error:
            raise CommandError(str(error), returncode=2) from error
        except ImportRefused as error:
            raise CommandError(f"nothing was imported\n{error}") from error
        if verbosity < 1:
            return
        relevant = sum(row.label is True for row in rows)
        self.stdout.write(
            f"{team}/{subject}: {result.created} articles new, {result.updated} updated, {result.unchanged} unchanged; "
            f"{result.labelled} with a label ({relevant} relevant), {result.unlabelled} without"
        )
        if not result.labelled:
            self.stderr.write(
                self.style.WARNING(f"no row of {file} has a label (column relevant or label); training learns from labelled articles only")
            )
        if result.summaries_kept:
            self.stderr.write(
                self.style.WARNING(f"{result.summaries_kept} articles were here with another summary, which was left as it is")
            )
