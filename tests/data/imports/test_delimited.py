"""CSV and its relatives: separators, quotes, widths, limits and line numbers."""

import csv
from dataclasses import replace

import pytest

from tests.data.imports.conftest import LIMITS

HEADER = "article_id,title,summary,relevant,discovery_date\n"


@pytest.mark.parametrize(
    ("content", "description"),
    [
        ("id,title,abstract\n1,Tea,Cups; hot\n", "CSV with commas, UTF-8"),
        ("id;title;abstract\n1;Tea;Cups, hot\n", "CSV with semicolons, UTF-8"),
        ("id\ttitle\tabstract\n1\tTea\tCups, hot\n", "CSV with tabs, UTF-8"),
        ("id|title|abstract\n1|Tea|Cups, hot\n", "CSV with bars, UTF-8"),
        ("sep=;\nid;title;abstract\n1;Tea;Cups, hot\n", "CSV with semicolons, UTF-8"),
        ("sep=,\r\nid,title,abstract\r\n1,Tea,Cups; hot\r\n", "CSV with commas, UTF-8"),
        ("sep=^\nid^title^abstract\n1^Tea^Cups, hot\n", "CSV with '^', UTF-8"),
        ('"a;b";title;abstract\n1;Tea;"Cups, hot"\n', "CSV with semicolons, UTF-8"),
    ],
)
def test_the_separator_is_found_in_the_header(read, content, description):
    found = read(content)
    assert found.description == description
    assert [row.title for row in found.rows] == ["Tea"]
    assert found.rows[0].summary.replace(";", ",") == "Cups, hot"


def test_header_names_have_any_case_order_and_blanks(read):
    (row,) = read('Label,journal, ABSTRACT ,Title,ID\n0,Tea J,"Two, cups",Tea,12\n').rows
    assert (row.source_id, row.title, row.summary, row.label) == ("12", "Tea", "Two, cups", False)


def test_quotes_inside_a_cell_belong_to_the_text(read):
    rows = read(HEADER + '1,A 5" stent,He said "yes" then left,1,\n2,"B" trial,"a ""c""",0,\n').rows
    assert [(row.title, row.summary) for row in rows] == [('A 5" stent', 'He said "yes" then left'), ('"B" trial', 'a "c"')]


def test_empty_cells_beyond_the_header_are_left_out(read):
    assert read("id,title\n1,Tea,,\n").rows[0].title == "Tea"


def test_cells_can_have_line_breaks_of_every_kind(read):
    (row,) = read(HEADER + '12,"Te\na","One\r\ntwo\rthree",1,\r\n').rows
    assert (row.title, row.summary) == ("Te\na", "One\r\ntwo\rthree")


def test_lines_can_end_with_a_carriage_return_only(read):
    assert [row.label for row in read("id,title,relevant\r1,A,1\r2,B,0\r").rows] == [True, False]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("12,Tea,Cups, saucers.,1,x", "6 fields where the header has 5; a text with commas or line breaks needs quotes"),
        ("12,Tea", "2 fields where the header has 5; a text with commas or line breaks needs quotes"),
        ('12,"Tea,Cups.,1,', "not CSV: unexpected end of data; check for a quote that is not closed or not doubled"),
        ('12,"Te\na" x,Cups.,1,', "not CSV: ',' expected after '\"'; check for a quote that is not closed or not doubled"),
    ],
)
def test_a_row_whose_cells_are_not_clear_is_named(read, record, message):
    assert read(HEADER + "11,Tea,Cups.,1,\n" + record + "\n").problems[0] == f"line 3: {message}"


def test_the_rows_after_a_bad_one_are_read(read):
    found = read(HEADER + '11,"Te\na" x,Cups.,1,\n12,Coffee,,0,\n')
    assert [row.title for row in found.rows] == ["Coffee"]


def test_line_numbers_are_those_of_the_first_line_of_an_entry(read):
    content = HEADER + '11,Tea,"One\ntwo\r\nthree",1,\n\n12,"Te\na",Cups.,maybe,\n13,Tea,Cups.,perhaps,\n'
    assert [row.place for row in read(content).refused] == ["line 6", "line 8"]


def test_an_abstract_of_a_megabyte_is_read_and_the_limit_of_csv_restored(read):
    before = csv.field_size_limit()
    abstract = "word " * 190_000
    assert read(HEADER + f"12,Tea,{abstract},1,\n").rows[0].summary == abstract
    assert csv.field_size_limit() == before


def test_a_cell_beyond_the_limit_is_a_bad_row(read):
    content = HEADER + "11,Tea,Cups.,1,\n" + f"12,Tea,{'x' * 1001},1,\n"
    assert read(content, limits=replace(LIMITS, cell=1000)).problems == [
        "line 3: a cell with more than 1000 characters; check for a quote that is not closed, or raise GREGORY_IMPORT_CELL"
    ]


def test_a_header_beyond_the_limit_of_a_cell_is_refused(refusal):
    assert refusal(HEADER + "12,Tea,Cups.,1,\n", limits=replace(LIMITS, cell=5)) == (
        "line 1: a cell with more than 5 characters; check for a quote that is not closed, or raise GREGORY_IMPORT_CELL",
    )


def test_a_line_beyond_the_limit_is_refused(refusal):
    assert refusal(HEADER + "12,Tea,Cups.,1,\n", limits=replace(LIMITS, line=20)) == (
        "line 1 has more than 20 characters; check that this is a table, or raise GREGORY_IMPORT_LINE",
    )
