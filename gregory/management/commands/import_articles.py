"""`manage.py import_articles`: import articles from a file of a screening tool into one subject. `gregory.data.imports` has the rules."""

import csv
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gregory.data.imports.columns import Names
from gregory.data.imports.errors import ImportRefused, refuse
from gregory.data.imports.read import ImportFile, Wanted, read_file
from gregory.data.imports.source import ENCODINGS, ERRORS
from gregory.data.place import SlugRefused
from gregory.data.store import ImportResult, import_rows, remove
from gregory.management.command import ManagementCommand
from gregory.management.confirmation import confirmed
from gregory.management.database import clear_database_errors
from gregory.management.import_limits import import_limits
from gregory.ml.config import SplitConfig
from gregory.ml.spreadsheet import as_cell
from gregory.ml.stratification import prospect
from gregory.output import counted
from gregory.runs.exit_codes import USAGE


class Command(ManagementCommand):
    """Reads a whole file, then stores all of its articles or none."""

    help = (
        "Import articles and their labels into one subject, from CSV, TSV, .xlsx, RIS, PubMed format (.nbib), EndNote XML or Web of "
        "Science text, as screening tools and databases write them. The whole file is imported, or nothing. A repeated import updates."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, its subject and its columns."""
        parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the file; its format and encoding are found")
        parser.add_argument("--team", required=True, metavar="SLUG", help="team that reviews the articles; created if missing")
        parser.add_argument("--subject", required=True, metavar="SLUG", help="subject of the reviews; created if missing")
        for name in ("label", "title", "abstract", "id"):
            parser.add_argument(f"--{name}-column", default="", metavar="NAME", help=f"column of the {name}, if its name is not found")
        parser.add_argument("--relevant-value", default="", metavar="VALUE", help="value of a relevant article; others are not relevant")
        parser.add_argument("--encoding", choices=list(ENCODINGS), default="", help="encoding of the file, if the found one is wrong")
        parser.add_argument("--without-labels", action="store_true", help="import no labels, also if a column looks like labels")
        parser.add_argument("--skip-bad-rows", action="store_true", help="import the other rows; FILE.refused.csv gets the bad ones")
        parser.add_argument("--dry-run", action="store_true", help="print the counts and change nothing")
        parser.add_argument("--remove", action="store_true", help="remove the imported articles of the subject; models stay")
        parser.add_argument("--yes", action="store_true", help="remove without a question")

    @clear_database_errors()
    def handle(self, *, file: Path | None, team: str, subject: str, verbosity: int, **options: Any) -> None:
        """Import and print the counts. Exit code FAILURE: refused. USAGE: a slug or a flag is not usable."""
        if options["remove"]:
            self._remove(team, subject, dry_run=options["dry_run"], yes=options["yes"])
            return
        if file is None:
            raise CommandError("the file is missing; only --remove needs none", returncode=USAGE)
        wanted = Wanted(
            names=Names(**{name: options[f"{name}_column"] for name in ("label", "title", "abstract", "id")}),
            relevant_value=options["relevant_value"],
            subject=subject,
            without_labels=options["without_labels"],
            encoding=options["encoding"],
        )
        named = [flag for flag in ("--relevant-value", "--label-column") if options[flag[2:].replace("-", "_")]]
        if wanted.without_labels and named:
            raise CommandError(f"{named[0]} names labels, and --without-labels imports none; leave out one of them", returncode=USAGE)
        try:
            read = read_file(file, wanted, import_limits())
            if not options["skip_bad_rows"] or not read.rows:
                refuse(read.problems)
            refused = _write_refused(file, read) if read.refused and not options["dry_run"] else None
            result = import_rows(read.rows, team_slug=team, subject_slug=subject, dry_run=options["dry_run"])
        except SlugRefused as error:
            raise CommandError(str(error), returncode=USAGE) from error
        except ImportRefused as error:
            raise CommandError(f"nothing was imported from {file}\n{error}") from error
        if verbosity > 0:
            self._report(read, result, f"{team}/{subject}", dry_run=options["dry_run"])
        self._warn(read, file, refused)

    def _report(self, read: ImportFile, result: ImportResult, label: str, *, dry_run: bool) -> None:
        relevant = sum(row.label is True for row in read.rows)
        not_relevant = result.labelled - relevant
        without = sum(not row.summary for row in read.rows)
        self.stdout.write(f"{read.description}; columns used: {', '.join(read.used)}")
        joined = f"{result.joined} of another subject added, " if result.joined else ""
        changes = f" ({result.texts} with another text, {result.labels} with another label)" if result.updated else ""
        self.stdout.write(
            f"{label}: {counted(result.created, 'article')} new, {joined}{result.updated} updated{changes}, {result.unchanged} unchanged; "
            f"{relevant} relevant, {not_relevant} not relevant, {result.unlabelled} not reviewed; {without} without an abstract"
        )
        if read.repeated:
            self.stdout.write(f"{counted(read.repeated, 'row')} repeated another one and changed nothing")
        for remark in read.remarks:
            self.stdout.write(remark)
        if dry_run:
            self.stdout.write(f"nothing was stored (--dry-run); {_prospect(relevant, not_relevant)}")

    def _warn(self, read: ImportFile, file: Path, refused: Path | None) -> None:
        labels = {row.label for row in read.rows} - {None}
        if not labels:
            self._warning(f"no row of {file} has a label; training learns from labelled articles only")
        elif len(labels) == 1:
            only = "relevant" if labels == {True} else "not relevant"
            self._warning(f"all labels of {file} are {only}; training needs both, so import the other articles into this subject, too")
        if dates := read.unreadable_dates:
            examples = ", ".join(sorted(set(dates))[:3])
            self._warning(f"{counted(len(dates), 'date')} cannot be read ({examples}); these articles get the time of the import")
        if read.refused:
            place = f"; {refused} has them with the reasons" if refused else ""
            self._warning(f"{counted(len(read.refused), 'row')} refused{place}")

    def _remove(self, team: str, subject: str, *, dry_run: bool, yes: bool) -> None:
        try:
            number = remove(team_slug=team, subject_slug=subject, dry_run=True)
            if not number:
                raise CommandError(f"{team}/{subject} has no imported article")
            question = f"remove {counted(number, 'imported article')} of {team}/{subject} with the labels? The models stay."
            if not dry_run and (yes or confirmed(question, self.stderr)):
                number = remove(team_slug=team, subject_slug=subject)
                self.stdout.write(f"{team}/{subject}: {counted(number, 'article')} removed")
            else:
                self.stdout.write(f"{team}/{subject}: nothing was removed; {counted(number, 'imported article')} would be")
        except ImportRefused as error:
            raise CommandError(f"nothing was removed\n{error}") from error

    def _warning(self, text: str) -> None:
        self.stderr.write(text, self.style.WARNING)


def _prospect(relevant: int, not_relevant: int) -> str:
    """Whether a training with these articles alone could work."""
    found = prospect(relevant, not_relevant, SplitConfig(), whole=True)
    if found.error is not None:
        return f"with these articles alone a training fails: {found.error}"
    return "a training with these articles could work" + (f"; {found.advice}" if found.advice else "")


def _write_refused(file: Path, read: ImportFile) -> Path:
    """Write the refused rows beside the file, with place and reason. Raises ImportRefused if that is impossible."""
    path = file.with_name(f"{file.name}.refused.csv")
    try:
        with path.open("w", encoding="utf-8", errors=ERRORS, newline="") as stream:
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(["place", "reason", *read.columns])
            for row in read.refused:
                rows.writerow([row.place, row.reason, *map(as_cell, row.values)])
    except OSError as error:
        raise ImportRefused(f"{path} cannot be written: {error.strerror}; --skip-bad-rows needs a writable folder") from error
    return path
