"""The common form of all formats: named columns, and records with their place in the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Record(NamedTuple):
    """One article of a file. problem: why its values cannot be read; the values are then those that could be read."""

    place: str
    values: list[str]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file that is being read. The records are read when they are needed.

    description: the format, for people. remarks: what a person should know about the file.
    """

    description: str
    columns: tuple[str, ...]
    records: Iterator[Record]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Most characters of a line and of a cell, and most bytes of an unpacked workbook. They bound the memory of an import."""

    line: int
    cell: int
    unpacked: int
