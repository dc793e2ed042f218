"""A file -> the rows of an import and the refused rows. All formats come together here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gregory.data.dataset_csv import title_and_abstract
from gregory.data.imports import columns, dates, delimited, endnote, tagged, values, workbook
from gregory.data.imports.columns import Columns, Names
from gregory.data.imports.errors import ImportRefused, shown
from gregory.data.imports.source import ERRORS, Format, Source, identify, undecoded
from gregory.data.imports.table import Limits, Record, Table

# Values of a column that a message names.
_SHOWN_VALUES = 10
_PUBMED = "https://pubmed.ncbi.nlm.nih.gov/"


class _BadRow(Exception):
    """A record that cannot be imported. The message has no place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the operator says about a file.

    subject: its slug, for texts with the labels of several subjects. without_labels: no column has labels, whatever their names are.
    encoding: a name of `source.ENCODINGS`. Empty: find it.
    """

    names: Names = field(default_factory=Names)
    relevant_value: str = ""
    subject: str = ""
    without_labels: bool = False
    encoding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """One article of a file. source_id: its identifier in the file. label None: not reviewed. discovery_date None: time of the import."""

    source_id: str
    title: str
    summary: str
    link: str
    label: bool | None
    discovery_date: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRow:
    """A record that cannot be imported."""

    place: str
    reason: str
    values: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFile:
    """A file that was read. repeated: records that are equal to an earlier one. used: the names of the columns with a meaning."""

    description: str
    columns: Sequence[str]
    used: Sequence[str]
    rows: Sequence[ImportRow]
    refused: Sequence[RefusedRow]
    repeated: int
    unreadable_dates: Sequence[str]
    remarks: Sequence[str]

    @property
    def problems(self) -> list[str]:
        """One line for each refused row."""
        return [f"{row.place}: {row.reason}" for row in self.refused]


def article_urn(source_id: str) -> str:
    """The link of an article without a known address. The column must not be empty."""
    return f"urn:article:{source_id}"


def read_file(path: Path, wanted: Wanted, limits: Limits) -> ImportFile:
    """Raises ImportRefused if the file cannot be read, has no article, or has labels in a column that is not used."""
    source = identify(path, wanted.encoding)
    with _table(source, limits) as table:
        try:
            return _read(path, table, columns.find(table.columns, wanted.names), wanted)
        except OSError as error:
            raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _table(source: Source, limits: Limits) -> Iterator[Table]:
    if source.format is Format.WORKBOOK:
        # openpyxl refuses a path with another ending.
        with source.path.open("rb") as content:
            yield workbook.open_table(source.path, content, limits)
    elif source.format is Format.ENDNOTE:
        yield endnote.open_table(source.path, limits)
    else:
        # csv needs the line ends as they are.
        newline = "" if source.format is Format.DELIMITED else None
        with source.path.open(encoding=source.encoding, errors=ERRORS, newline=newline) as stream, delimited.wide_cells(limits.cell):
            if source.format is Format.DELIMITED:
                yield delimited.open_table(source, stream, limits, known=columns.known)
            else:
                yield tagged.open_table(source, stream, limits)


def _read(path: Path, table: Table, found: Columns, wanted: Wanted) -> ImportFile:
    rows: dict[str, ImportRow] = {}
    places: dict[str, str] = {}
    refused: list[RefusedRow] = []
    bad_dates: list[str] = []
    repeated = 0
    if byte := undecoded("\n".join(table.columns)):
        raise ImportRefused(f"{path} has the byte {byte} in its header, which is not UTF-8; save the file as UTF-8")
    ignored, labels = _IgnoredLabels(found), _LabelValues(found, wanted)
    for record in table.records:
        ignored.see(record)
        labels.see(record)
        try:
            row = _row(record, table, found, wanted, bad_dates)
            if earlier := rows.get(row.source_id):
                _require_equal(earlier, row, places[row.source_id])
                repeated += 1
                continue
        except _BadRow as error:
            refused.append(RefusedRow(place=record.place, reason=str(error), values=record.values))
            continue
        rows[row.source_id], places[row.source_id] = row, record.place
    if not rows and not refused:
        raise ImportRefused(f"{path} has no article after its header; its columns are {', '.join(table.columns)}")
    if not wanted.without_labels and all(row.label is None for row in rows.values()):
        ignored.refuse(table.columns)
    labels.require_relevant()
    return ImportFile(
        description=table.description,
        columns=table.columns,
        used=[table.columns[place] for place in found.used()],
        rows=list(rows.values()),
        refused=refused,
        repeated=repeated,
        unreadable_dates=bad_dates,
        remarks=[*table.remarks, *_remarks(table, found)],
    )


def _remarks(table: Table, found: Columns) -> Iterator[str]:
    if found.abstract is None and found.text is None:
        yield "no column has abstracts, so titles are the only texts; --abstract-column names one"
    if found.label is not None and (others := [table.columns[place] for place in found.like_labels if place not in found.used()]):
        yield f"the labels are those of the column {table.columns[found.label]}, and not of {', '.join(others)}"


class _IgnoredLabels:
    """Columns that have the name and the values of labels and are not used."""

    def __init__(self, found: Columns) -> None:
        used = found.used()
        self._values: dict[int, set[str]] = {place: set() for place in found.like_labels if place not in used}

    def see(self, record: Record) -> None:
        """Note the values of a record. A column with a value that is no label is none of labels."""
        for place in list(self._values):
            value = record.values[place].strip() if place < len(record.values) else ""
            if value and values.is_label_word(value):
                self._values[place].add(value)
            elif value:
                del self._values[place]

    def refuse(self, names: Sequence[str]) -> None:
        """Raise ImportRefused with a column that has labels."""
        for place, seen in self._values.items():
            if seen:
                raise ImportRefused(
                    f"the column {shown(names[place])} looks like labels ({', '.join(sorted(seen)[:4])}) and is not used; "
                    f"add --label-column {shown(names[place])}, or --without-labels to import without them"
                )


class _LabelValues:
    """The values of the label column, if the operator names the one of relevant articles."""

    def __init__(self, found: Columns, wanted: Wanted) -> None:
        """Raises ImportRefused if there is no column of labels."""
        self._relevant, self._column = wanted.relevant_value, found.label
        if self._relevant and self._column is None:
            raise ImportRefused(f"--relevant-value {shown(self._relevant)} needs a column of labels; --label-column names it")
        self._values: dict[str, None] = {}
        self._found = False

    def see(self, record: Record) -> None:
        """Note the value of a record. Few of the others are enough for a message."""
        if self._relevant and self._column is not None and self._column < len(record.values):
            value = record.values[self._column].strip()
            self._found = self._found or value.casefold() == self._relevant.strip().casefold()
            if value and len(self._values) <= _SHOWN_VALUES:
                self._values.setdefault(value)

    def require_relevant(self) -> None:
        """Raise ImportRefused if no record has the value. All labels would be negative, also those that are stored already."""
        if self._relevant and not self._found:
            several = list(self._values)
            seen = ", ".join(map(shown, several[:_SHOWN_VALUES])) + (", ..." if len(several) > _SHOWN_VALUES else "")
            raise ImportRefused(f"--relevant-value {shown(self._relevant)}: no row has it; the column has {seen or 'no value'}")


def _require_equal(earlier: ImportRow, row: ImportRow, place: str) -> None:
    for name, title in (("title", "another title"), ("summary", "another abstract"), ("label", "another label")):
        if getattr(earlier, name) != getattr(row, name):
            raise _BadRow(f"the identifier {shown(row.source_id)} is also in {place}, with {title}; keep one of the two")


def _row(record: Record, table: Table, found: Columns, wanted: Wanted, bad_dates: list[str]) -> ImportRow:
    if record.problem:
        raise _BadRow(record.problem)
    title, abstract = _title_and_abstract(record.values, table, found)
    doi, pmid = values.doi(_cell(record, found.doi)), values.identifier(_cell(record, found.pmid))
    pmid = pmid if pmid.isdecimal() and len(pmid) <= values.LONGEST_ID else ""
    own = values.identifier(_cell(record, found.id))
    source_id = own or values.derived(doi=doi, pmid=pmid, title=title, abstract=abstract)
    if byte := undecoded("\n".join(record.values[place] for place in found.used())):
        raise _BadRow(f"the byte {byte} is not UTF-8; correct the row, save the file as UTF-8, or import it with --encoding windows-1252")
    if any("\0" in text for text in (title, abstract, source_id, doi)):
        raise _BadRow("a NUL character, which PostgreSQL cannot store; remove it")
    if len(source_id) > values.LONGEST_ID:
        raise _BadRow(
            f"column {table.columns[found.id or 0]}: the identifier {shown(source_id)} has more than {values.LONGEST_ID} characters"
        )
    return ImportRow(
        source_id=source_id,
        title=title,
        summary=abstract,
        link=_link(source_id, doi or values.doi(own), pmid),
        label=_label(record, table, found, wanted),
        discovery_date=_date(_cell(record, found.date).strip(), bad_dates),
    )


def _cell(record: Record, position: int | None) -> str:
    return "" if position is None else record.values[position]


def _title_and_abstract(cells: Sequence[str], table: Table, found: Columns) -> tuple[str, str]:
    if found.title is None:
        # The title can be empty. Then the text begins with a line break.
        return title_and_abstract(cells[found.text or 0])
    title = cells[found.title].strip()
    if not title:
        raise _BadRow(f"column {table.columns[found.title]}: the title is blank; add it, or remove the row")
    return title, "" if found.abstract is None else values.abstract(cells[found.abstract])


def _link(source_id: str, doi: str, pmid: str) -> str:
    if pmid:
        return f"{_PUBMED}{pmid}/"
    if doi:
        return f"https://doi.org/{doi}"
    return source_id if source_id.startswith(("https://", "http://")) else article_urn(source_id)


def _label(record: Record, table: Table, found: Columns, wanted: Wanted) -> bool | None:
    if wanted.without_labels:
        return None
    try:
        if found.label is not None:
            return values.label(record.values[found.label], relevant_value=wanted.relevant_value)
        if found.reviews is not None:
            return values.label_of_reviews(record.values[found.reviews], wanted.subject)
    except values.NoLabel as error:
        place = found.reviews if found.label is None else found.label
        raise _BadRow(_no_label(table.columns[place or 0], str(error), found, wanted)) from error
    return values.label_of_notes(_cell(record, found.notes))


def _no_label(column: str, value: str, found: Columns, wanted: Wanted) -> str:
    if found.label is None:
        return f"column {column}: {shown(value)} has no label of the subject {wanted.subject}"
    return f"column {column}: {shown(value)} is no label; write {values.LABEL_WORDS}, or give --relevant-value"


def _date(value: str, bad_dates: list[str]) -> datetime | None:
    if not value:
        return None
    found = dates.moment(value)
    if found is None:
        bad_dates.append(value)
    return found
