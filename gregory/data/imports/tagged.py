"""Formats with a tag at the beginning of a line: RIS, PubMed format (.nbib) and Web of Science text. rispy parses them."""

import re
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from typing import IO, Any

from gregory.data.imports.errors import ImportRefused, shown
from gregory.data.imports.source import Format, Source, encoding_name
from gregory.data.imports.table import Limits, Record, Table

COLUMNS = ("id", "doi", "pmid", "title", "abstract", "notes")
_START = {Format.RIS: "TY", Format.NBIB: "PMID", Format.WEB_OF_SCIENCE: "PT"}
_END = {Format.RIS: "ER  - ", Format.NBIB: "ER  - ", Format.WEB_OF_SCIENCE: "ER"}
# The tags of each column, best first.
_TAGS: dict[Format, tuple[tuple[str, ...], ...]] = {
    Format.RIS: (("ID", "AN"), ("DO",), (), ("TI", "T1"), ("AB", "N2"), ("N1", "RN")),
    Format.NBIB: (("PMID",), ("LID", "AID"), ("PMID",), ("TI", "BTI"), ("AB", "OAB"), ()),
    Format.WEB_OF_SCIENCE: (("UT",), ("DI",), ("PM",), ("TI",), ("AB",), ()),
}
# Lines between entries that have no text: numbers of the entries, and the frame of a file.
_NO_TEXT = {
    Format.RIS: re.compile(r"(\d+\.?)?"),
    Format.NBIB: re.compile(r"(\d+\.?)?"),
    Format.WEB_OF_SCIENCE: re.compile(r"((FN|VR|EF)\b.*)?"),
}
_TAG = {
    Format.RIS: re.compile(r"[A-Z][A-Z0-9]  ?-"),
    Format.NBIB: re.compile(r"[A-Z]{2,4} *- "),
    Format.WEB_OF_SCIENCE: re.compile(r"[A-Z][A-Z0-9] "),
}


def open_table(source: Source, stream: IO[str], limits: Limits) -> Table:
    lines = _Lines(stream, source.format, limits.line)
    entries, outside = _parse(source.format, lines)
    first = entries[0]["line"] if entries else 0
    before = [number for number, text in outside if number < first and not _TAG[source.format].match(text)]
    found = [(entry["line"], _record(source.format, entry, limits)) for entry in entries]
    found += [(number, _lost(source.format, number, text)) for number, text in outside if number not in before]
    return Table(
        description=f"{source.format}, {encoding_name(source.encoding)}",
        columns=COLUMNS,
        records=(record for _, record in sorted(found, key=itemgetter(0))),
        remarks=(f"the text before the first entry is not read; it begins in line {before[0]}",) if before else (),
    )


class _Lines:
    """The lines of a file with their number. An entry that the file does not end gets its end, else rispy drops it.

    cut: the last entry had no end.
    """

    def __init__(self, stream: IO[str], form: Format, limit: int) -> None:
        self.number, self.cut = 0, False
        self._stream, self._form, self._limit = stream, form, limit

    def __iter__(self) -> Iterator[str]:
        open_entry = False
        while line := self._stream.readline(self._limit + 1):
            self.number += 1
            if len(line) > self._limit:
                raise ImportRefused(
                    f"line {self.number} has more than {self._limit} characters; raise GREGORY_IMPORT_LINE if this is right"
                )
            if self._form is Format.NBIB and not line.strip():
                # An empty line ends an entry of PubMed.
                line = _END[self._form]
            if line.startswith(_START[self._form]):
                if open_entry and self._form is Format.NBIB:
                    # Without an empty line between two entries, rispy merges them.
                    yield _END[self._form]
                open_entry = True
            elif line.startswith("ER"):
                open_entry = False
            yield line
        if open_entry:
            self.cut = self._form is not Format.NBIB
            yield _END[self._form]


def _parse(form: Format, lines: _Lines) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    """One dictionary of tags for each entry, with lists of lines. The key "line" has the number of its first line.

    Then the first line of each text that belongs to no entry, with its number.
    """
    from rispy import RisParser, WokParser

    tags = [_START[form], *(tag for column in _TAGS[form] for tag in column)]
    base = WokParser if form is Format.WEB_OF_SCIENCE else RisParser

    class Parser(base):  # type: ignore[misc, valid-type]
        START_TAG = _START[form]

        def _iter_till_start(self, lines: Iterator[str]) -> dict[str, Any]:
            block: bool | None = None
            for line in lines:
                tag, start = self.parse_line(line)
                if tag == self.START_TAG or line.startswith(f"{self.START_TAG} - "):
                    return {self.START_TAG: [start], "line": source.number}
                if tag == self.END_TAG or _NO_TEXT[form].fullmatch(line.strip()):
                    block = None
                    continue
                tagged = bool(_TAG[form].match(line))
                if block is None or (tagged and not block):
                    outside.append((source.number, line.strip()))
                block = block or tagged
            raise StopIteration

        def parse_line(self, line: str) -> tuple[str | None, str]:
            if form is not Format.NBIB:
                return super().parse_line(line)  # type: ignore[no-any-return]
            return (line[:4].strip(), line[6:].strip()) if line[4:6] == "- " or line == _END[form] else (None, line.strip())

    source, outside = lines, list[tuple[int, str]]()
    parser = Parser(mapping={tag: tag for tag in tags}, list_tags=tags, delimiter_tags_mapping={}, skip_unknown_tags=True)
    entries: list[dict[str, Any]] = parser.parse_lines(iter(lines))
    if lines.cut and entries:
        entries[-1]["cut"] = True
    return entries, outside


def _lost(form: Format, number: int, text: str) -> Record:
    problem = f"{shown(text)} belongs to no entry; begin its entry with a line {_START[form]}, or remove the line"
    return Record(f"line {number}", [], problem)


def _record(form: Format, entry: dict[str, Any], limits: Limits) -> Record:
    values = [_value(entry, tags) for tags in _TAGS[form]]
    longest = max(map(len, values))
    problem = ""
    if len(entry[_START[form]]) > 1:
        problem = f"a second line {_START[form]} before the line ER, which ends an entry"
    elif entry.get("cut"):
        problem = "no line ER, which ends an entry; the file is not complete"
    elif longest > limits.cell:
        problem = f"a text with {longest} characters, and the limit is {limits.cell}; raise GREGORY_IMPORT_CELL if this is right"
    return Record(f"line {entry['line']}", values, problem)


def _value(entry: dict[str, Any], tags: tuple[str, ...]) -> str:
    found: list[str] = next((entry[tag] for tag in tags if entry.get(tag)), [])
    if tags == ("LID", "AID"):
        # PubMed marks the kind of each identifier.
        identifiers = chain(entry.get("LID", ()), entry.get("AID", ()))
        return next((value.removesuffix("[doi]").strip() for value in identifiers if value.endswith("[doi]")), "")
    return " ".join(found)
