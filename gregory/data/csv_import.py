"""CSV file -> articles that are all valid, or the errors of the file. No database."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from gregory.data.dataset_csv import title_and_abstract
from gregory.output import counted

# Python's csv stops at 128 KiB per field, and real "abstracts" with a full text are longer. The limit ends an unclosed quote.
FIELD_LIMIT = 64 * 1024 * 1024
LARGEST_ID = 2**31 - 1
REPORTED = 20

_LABELS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": None}
_ID_COLUMNS, _SUMMARY_COLUMNS, _LABEL_COLUMNS = ("article_id", "pmid", "id"), ("summary", "abstract"), ("relevant", "label")
_NEEDED = (
    "an import needs article_id (or pmid, id), title, summary (or abstract), or a text in place of both; "
    "relevant (or label) and discovery_date are optional"
)


class ImportRefused(Exception):
    """Nothing was written. messages: the reasons, one line each."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


class _BadRow(Exception):
    """A line that cannot be imported. The message has no line number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """One article of the file. label None: not reviewed; discovery_date None: the time of the import."""

    article_id: int
    title: str
    summary: str
    link: str
    label: bool | None
    discovery_date: datetime | None


class _Columns(NamedTuple):
    """The positions of the columns."""

    article_id: int
    title: int | None
    summary: int | None
    text: int | None
    label: int | None
    discovery_date: int | None
    is_pmid: bool
    width: int


def article_urn(article_id: int) -> str:
    """The link of an article without a known address. The column must not be empty."""
    return f"urn:article:{article_id}"


def read_csv(path: Path) -> list[ImportRow]:
    """The articles of a CSV file with a header.

    The names of the header can have any case and order, and other columns are ignored. A blank label means: not reviewed. A date
    without a zone is UTC. With a column pmid, the address of an article is that of PubMed. Without a column title, the first line of
    the column text is the title, as `export_training_data` writes it. Raises ImportRefused with the first invalid lines.
    """
    with _wide_fields():
        return _rows(_text(path), path)


def refuse(problems: Sequence[str]) -> None:
    """Raise ImportRefused with the first problems, if there are any."""
    if len(problems) > REPORTED:
        raise ImportRefused(*problems[:REPORTED], f"... and {len(problems) - REPORTED} more")
    if problems:
        raise ImportRefused(*problems)


def shown(value: str) -> str:
    """A value for an error message: with visible blanks, and at most 60 characters."""
    return repr(value if len(value) <= 60 else value[:57] + "...")


@contextmanager
def _wide_fields() -> Iterator[None]:
    # The limit is global for the process, so it is restored.
    before = csv.field_size_limit(FIELD_LIMIT)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ImportRefused(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start} (line {line}); save it as UTF-8"
        ) from error


def _rows(text: str, path: Path) -> list[ImportRow]:
    rows: list[ImportRow] = []
    problems: list[str] = []
    first_lines: dict[int, int] = {}
    columns: _Columns | None = None
    for line, record in _records(text, problems):
        if columns is None:
            columns = _columns(record, path)
            continue
        try:
            row = _row(record, columns)
        except _BadRow as error:
            problems.append(f"line {line}: {error}")
            continue
        if row.article_id in first_lines:
            problems.append(f"line {line}: article_id {row.article_id} is also in line {first_lines[row.article_id]}")
            continue
        first_lines[row.article_id] = line
        rows.append(row)
    refuse(problems)
    if not rows:
        raise ImportRefused(f"{path} holds no article; {_NEEDED}")
    return rows


def _records(text: str, problems: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The entries of the file with their first line number, without blank lines. It ends at a syntax error, which hides the next start."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            problems.append(f"line {line}: not CSV: {error}; check for a quote that is not closed or not doubled")
            return
        if record is None:
            return
        if record:
            yield line, record


def _columns(header: list[str], path: Path) -> _Columns:
    names = [name.strip().lower() for name in header]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise ImportRefused(f"{path} has more than one column named {', '.join(repeated)}")

    def position(*wanted: str) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    article_id, title, summary, text = position(*_ID_COLUMNS), position("title"), position(*_SUMMARY_COLUMNS), position("text")
    if article_id is None or (text is None if title is None else summary is None):
        raise ImportRefused(f"{path} has the columns {', '.join(names)}; {_NEEDED}")
    return _Columns(
        article_id=article_id,
        title=title,
        summary=summary,
        text=text,
        label=position(*_LABEL_COLUMNS),
        discovery_date=position("discovery_date"),
        is_pmid=names[article_id] == "pmid",
        width=len(names),
    )


def _row(record: list[str], columns: _Columns) -> ImportRow:
    if len(record) != columns.width:
        raise _BadRow(
            f"{counted(len(record), 'field')} where the header has {columns.width}; a text with commas or line breaks needs quotes"
        )
    article_id = _article_id(record[columns.article_id].strip())
    title, summary = _title_and_summary(record, columns)
    if "\0" in title or "\0" in summary:
        raise _BadRow("a NUL character, which PostgreSQL cannot store; remove it")
    return ImportRow(
        article_id=article_id,
        title=title,
        summary=summary,
        link=f"https://pubmed.ncbi.nlm.nih.gov/{article_id}/" if columns.is_pmid else article_urn(article_id),
        label=None if columns.label is None else _label(record[columns.label].strip()),
        discovery_date=None if columns.discovery_date is None else _date(record[columns.discovery_date].strip()),
    )


def _title_and_summary(record: list[str], columns: _Columns) -> tuple[str, str]:
    if columns.title is None or columns.summary is None:
        # The title can be empty. Then the text begins with a line break.
        return title_and_abstract(record[columns.text or 0])
    title = record[columns.title].strip()
    if not title:
        raise _BadRow("the title is blank")
    return title, record[columns.summary]


def _article_id(value: str) -> int:
    # int() accepts " 7", "1_000" and digits of other scripts.
    if not re.fullmatch("[0-9]{1,10}", value) or not 1 <= int(value) <= LARGEST_ID:
        raise _BadRow(f"article_id {shown(value)} is not a whole number from 1 to {LARGEST_ID}")
    return int(value)


def _label(value: str) -> bool | None:
    if value.lower() not in _LABELS:
        raise _BadRow(f"label {shown(value)} is none of 1, 0, true, false, yes, no, or blank for not reviewed")
    return _LABELS[value.lower()]


def _date(value: str) -> datetime | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise _BadRow(
            f"discovery_date {shown(value)} is not an ISO date or time such as 2025-06-30 or 2025-06-30T12:00:00+00:00"
        ) from error
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise _BadRow(f"discovery_date {shown(value)} lies outside the years 1 to 9999 in UTC") from error
