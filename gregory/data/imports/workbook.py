"""The first sheet of an Excel workbook, with openpyxl."""

import zipfile
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

from gregory.data.imports.errors import ImportRefused
from gregory.data.imports.table import Limits, Record, Table
from gregory.output import counted

# openpyxl lets the errors of zip, XML and its own objects through.
_DAMAGE = (zipfile.BadZipFile, zlib.error, SyntaxError, LookupError, ValueError, AttributeError, TypeError, EOFError, RuntimeError)


def open_table(path: Path, stream: IO[bytes], limits: Limits) -> Table:
    """Raises ImportRefused if the workbook is damaged, or too large when it is unpacked."""
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    unpacked = sum(entry.file_size for entry in zipfile.ZipFile(stream).infolist())
    if unpacked > limits.unpacked:
        raise ImportRefused(
            f"{path} has {unpacked} bytes when it is unpacked, and the limit is {limits.unpacked}; "
            "save it as CSV, or raise GREGORY_IMPORT_UNPACKED"
        )
    try:
        book = load_workbook(stream, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        # Some programs write wrong dimensions, and rows beyond them would be lost.
        sheet.reset_dimensions()
        rows = enumerate(sheet.iter_rows(values_only=True), 1)
        header = next(((number, row) for number, row in rows if any(cell is not None for cell in row)), (1, ()))
    except (InvalidFileException, *_DAMAGE) as error:
        raise _damaged(path, error) from error
    names = tuple(_cell(value).strip() for value in header[1])
    others = [other.title for other in book.worksheets[1:]]
    return Table(
        description=f"sheet {sheet.title!r} of an Excel workbook",
        columns=names,
        records=_records(rows, len(names), limits, path),
        remarks=(f"only the first of {counted(len(others) + 1, 'sheet')} is read; not read: {', '.join(others)}",) if others else (),
    )


def _records(rows: Iterator[tuple[int, tuple[Any, ...]]], width: int, limits: Limits, path: Path) -> Iterator[Record]:
    try:
        for number, row in rows:
            values = [_cell(value) for value in row[:width]]
            if any(values):
                values += [""] * (width - len(values))
                longest = max(map(len, values))
                problem = f"a cell with {longest} characters, and the limit is {limits.cell}; raise GREGORY_IMPORT_CELL if this is right"
                yield Record(f"row {number}", values, problem if longest > limits.cell else "")
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ImportRefused:
    return ImportRefused(f"{path} is a damaged workbook: {str(error).partition(chr(10))[0].rstrip('.')}; save it again, or as CSV")


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
