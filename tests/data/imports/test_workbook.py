"""Excel workbooks, written by openpyxl."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
from openpyxl import Workbook

from tests.data.imports.conftest import LIMITS


def workbook(*sheets: Sequence[Sequence[object]]) -> bytes:
    book, content = Workbook(write_only=True), io.BytesIO()
    for number, rows in enumerate(sheets, 1):
        sheet = book.create_sheet(f"part {number}")
        for row in rows:
            sheet.append(list(row))
    book.save(content)
    return content.getvalue()


HEADER = ["id", "title", "abstract", "included", "discovery_date"]


def test_the_cells_of_a_sheet_are_read_with_their_types(read):
    found = read(workbook([HEADER, [9030.0, "Tea", "Cups.", True, datetime(2025, 6, 30)], ["x", "Milk", None, 0, "2024"]]), "papers.xlsx")
    assert found.description == "sheet 'part 1' of an Excel workbook"
    assert [(row.source_id, row.title, row.summary, row.label, row.discovery_date.year) for row in found.rows] == [
        ("9030", "Tea", "Cups.", True, 2025),
        ("x", "Milk", "", False, 2024),
    ]


def test_blank_rows_are_left_out_and_rows_keep_their_number(read):
    found = read(workbook([[], HEADER, [], [1, "Tea", "", "maybe", ""]]), "papers.xlsx")
    assert [row.place for row in found.refused] == ["row 4"]


def test_the_other_sheets_are_named(read):
    assert read(workbook([HEADER, [1, "Tea", "", 1, ""]], [["x"]], []), "papers.xlsx").remarks == [
        "only the first of 3 sheets is read; not read: part 2, part 3"
    ]


def test_a_workbook_is_known_by_its_content_and_not_by_its_name(read):
    assert len(read(workbook([HEADER, [1, "Tea", "", 1, ""]]), "papers.csv").rows) == 1


def test_the_unpacked_size_has_a_limit(refusal):
    content = workbook([HEADER, [1, "Tea", "", 1, ""]])
    size = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(content)).infolist())
    assert refusal(content, "papers.xlsx", limits=replace(LIMITS, unpacked=size - 1)) == (
        f"papers.xlsx has {size} bytes when it is unpacked, and the limit is {size - 1}; save it as CSV, or raise GREGORY_IMPORT_UNPACKED",
    )


def test_a_cell_beyond_the_limit_is_a_bad_row(read):
    found = read(workbook([HEADER, [1, "Tea", "x" * 101, 1, ""]]), "papers.xlsx", limits=replace(LIMITS, cell=100))
    assert found.problems == ["row 2: a cell with 101 characters, and the limit is 100; raise GREGORY_IMPORT_CELL if this is right"]


def test_a_workbook_without_rows_is_refused(refusal):
    assert refusal(workbook([]), "papers.xlsx") == (
        "the columns are missing; an import needs a column title, or text in place of title and abstract; --title-column names another one",
    )


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml"])
def test_a_damaged_workbook_is_refused(refusal, part):
    good, damaged = zipfile.ZipFile(io.BytesIO(workbook([HEADER, [1, "Tea", "", 1, ""]]))), io.BytesIO()
    with zipfile.ZipFile(damaged, "w") as archive:
        for name in good.namelist():
            archive.writestr(name, good.read(name)[:40] if name == part else good.read(name))
    (message,) = refusal(damaged.getvalue(), "papers.xlsx")
    assert message.startswith("papers.xlsx is a damaged workbook: ")
    assert message.endswith("; save it again, or as CSV")
    assert "\n" not in message


def test_a_chart_without_its_drawing_is_a_damage(refusal):
    book, content = Workbook(), io.BytesIO()
    book.create_chartsheet("chart")
    book.save(content)
    assert refusal(content.getvalue(), "papers.xlsx") == (
        "papers.xlsx is a damaged workbook: 'list' object has no attribute 'find'; save it again, or as CSV",
    )
