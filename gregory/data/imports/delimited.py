"""CSV and its relatives: commas, semicolons, tabs or bars, found by the header."""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from gregory.data.imports.errors import ImportRefused, shown
from gregory.data.imports.source import SEPARATOR_MARK, SEPARATORS, Source, encoding_name
from gregory.data.imports.table import Limits, Record, Table
from gregory.output import counted


@contextmanager
def wide_cells(limit: int) -> Iterator[None]:
    """Let Python's csv read cells up to the limit. Its own stops at 128 KiB, and abstracts with a full text are longer."""
    # The limit is global for the process, so it is restored.
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def open_table(source: Source, stream: IO[str], limits: Limits, *, known: Callable[[list[str]], int]) -> Table:
    """known: the number of columns in a header whose names have a meaning. It selects the separator."""
    lines = _Lines(stream, limits.line)
    head = source.head
    separator = ""
    if head[: len(SEPARATOR_MARK)].lower() == SEPARATOR_MARK and head[len(SEPARATOR_MARK) : len(SEPARATOR_MARK) + 1].strip("\r\n"):
        separator = head[len(SEPARATOR_MARK)]
        next(lines)
        head = head.splitlines(keepends=True)[1] if len(head.splitlines()) > 1 else ""
    separator = separator or _separator(head, known)
    records = _records(lines, separator)
    header = next(records, Record("line 1", []))
    if header.problem:
        raise ImportRefused(f"{header.place}: {header.problem}")
    names = tuple(name.strip() for name in header.values)
    return Table(
        description=f"CSV with {SEPARATORS.get(separator, shown(separator))}, {encoding_name(source.encoding)}",
        columns=names,
        records=(_fitting(record, len(names), separator) for record in records),
    )


class _Lines:
    """The lines of a file with their number. entry: those of the present entry."""

    def __init__(self, stream: IO[str], limit: int) -> None:
        self.number = 0
        self.entry: list[str] = []
        self._stream, self._limit = stream, limit

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._limit + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > self._limit:
            raise ImportRefused(
                f"line {self.number} has more than {self._limit} characters; check that this is a table, or raise GREGORY_IMPORT_LINE"
            )
        self.entry.append(line)
        return line


def _separator(head: str, known: Callable[[list[str]], int]) -> str:
    def score(separator: str) -> tuple[int, int]:
        try:
            names = next(csv.reader(io.StringIO(head, newline=""), delimiter=separator), [])
        except csv.Error:
            # With the right separator too, the records name the problem.
            return 0, 0
        return known(names), len(names)

    return max(SEPARATORS, key=score)


def _records(lines: _Lines, separator: str) -> Iterator[Record]:
    """The entries, without blank lines."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        place = f"line {lines.number + 1}"
        lines.entry.clear()
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield _careful(place, lines.entry, separator, error)
            continue
        if values is None:
            return
        if any(values):
            yield Record(place, values)


def _careful(place: str, entry: list[str], separator: str, error: csv.Error) -> Record:
    """An entry with a quote that is neither doubled nor the beginning of a cell: the quote belongs to the text."""
    if len(entry) == 1 and "expected after" in str(error):
        cells = next(csv.reader(entry, delimiter=separator, quoting=csv.QUOTE_NONE), [])
        return Record(place, [_unquoted(cell) for cell in cells])
    if "field limit" in str(error):
        limit = csv.field_size_limit()
        return Record(
            place, [], f"a cell with more than {limit} characters; check for a quote that is not closed, or raise GREGORY_IMPORT_CELL"
        )
    return Record(place, [], f"not CSV: {error}; check for a quote that is not closed or not doubled")


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _fitting(record: Record, width: int, separator: str) -> Record:
    """The record without empty cells beyond the header. Other widths are a problem."""
    values = record.values
    if record.problem or len(values) == width:
        return record
    while len(values) > width and not values[-1]:
        values = values[:-1]
    if len(values) == width:
        return record._replace(values=values)
    name = SEPARATORS.get(separator, shown(separator))
    return record._replace(
        problem=f"{counted(len(record.values), 'field')} where the header has {width}; a text with {name} or line breaks needs quotes"
    )
