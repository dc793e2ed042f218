"""RIS, PubMed format and Web of Science text."""

from dataclasses import replace

import pytest

from tests.data.imports.conftest import LIMITS

RIS = """\
TY  - JOUR
ID  - 12
TI  - A trial of
      green tea
AB  - Cups were counted.
  They were full.
DO  - 10.1000/TEA
N1  - RAYYAN-INCLUSION: {"Ada"=>"Included"}
N1  - A note
ER  -

TY  - JOUR
T1  - A survey of coffee
N2  - Mugs.
N1  - RAYYAN-INCLUSION: {"Ada"=>"Excluded"}
ER  -
"""
NBIB = """\
PMID- 12345678
OWN - NLM
LID - S0000-0000(24)00001-2 [pii]
LID - 10.1000/tea [doi]
TI  - A trial of
      green tea.
AB  - Cups were counted. They
      were full.
FAU - Doe, Jane

PMID- 23456789
TI  - A survey of coffee.
"""
WEB_OF_SCIENCE = """\
FN Clarivate Analytics Web of Science
VR 1.0
PT J
AU Doe, J
TI A trial of
   green tea
AB Cups were counted.
   They were full.
DI 10.1000/tea
UT WOS:000000000000001
ER

PT J
TI A survey of coffee
UT WOS:000000000000002
ER

EF
"""


def test_ris_is_read_with_the_decisions_of_rayyan(read):
    found = read(RIS, "papers.ris")
    assert found.description == "RIS, UTF-8"
    assert [(row.source_id, row.title, row.summary, row.label, row.link) for row in found.rows] == [
        ("12", "A trial of green tea", "Cups were counted. They were full.", True, "https://doi.org/10.1000/tea"),
        (found.rows[1].source_id, "A survey of coffee", "Mugs.", False, f"urn:article:{found.rows[1].source_id}"),
    ]
    assert found.rows[1].source_id.startswith("text:")


def test_the_format_of_pubmed_is_read(read):
    found = read(NBIB, "papers.nbib")
    assert found.description == "PubMed format, UTF-8"
    assert [(row.source_id, row.title, row.summary, row.link) for row in found.rows] == [
        ("12345678", "A trial of green tea.", "Cups were counted. They were full.", "https://pubmed.ncbi.nlm.nih.gov/12345678/"),
        ("23456789", "A survey of coffee.", "", "https://pubmed.ncbi.nlm.nih.gov/23456789/"),
    ]


def test_two_entries_of_pubmed_without_an_empty_line_are_two_articles(read):
    assert read(NBIB.replace("\n\nPMID", "\nPMID"), "papers.nbib").rows == read(NBIB, "papers.nbib").rows


def test_web_of_science_text_is_read(read):
    found = read(WEB_OF_SCIENCE, "papers.txt")
    assert found.description == "Web of Science tagged text, UTF-8"
    assert [(row.source_id, row.title, row.summary, row.link) for row in found.rows] == [
        ("WOS:000000000000001", "A trial of green tea", "Cups were counted. They were full.", "https://doi.org/10.1000/tea"),
        ("WOS:000000000000002", "A survey of coffee", "", "urn:article:WOS:000000000000002"),
    ]


@pytest.mark.parametrize(("content", "name"), [(RIS, "a.ris"), (NBIB, "a.nbib"), (WEB_OF_SCIENCE, "a.txt")])
def test_other_line_ends_and_encodings_give_the_same_articles(read, content, name):
    expected = read(content, name).rows
    assert read(content.replace("\n", "\r\n").encode("utf-8-sig"), name).rows == expected
    assert read(content.encode("utf-16"), name).rows == expected


def test_an_entry_without_a_title_is_named_by_its_first_line(read):
    assert read(RIS.replace("T1  - A survey of coffee\n", ""), "a.ris").problems == [
        "line 12: column title: the title is blank; add it, or remove the row"
    ]


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (RIS.removesuffix("ER  -\n"), "a.ris", "line 12: no line ER, which ends an entry; the file is not complete"),
        (RIS.replace("ER  -\n", "", 1), "a.ris", "line 1: a second line TY before the line ER, which ends an entry"),
        (WEB_OF_SCIENCE.removesuffix("ER\n\nEF\n"), "a.txt", "line 13: no line ER, which ends an entry; the file is not complete"),
    ],
)
def test_an_entry_without_its_end_is_a_bad_row(read, content, name, problem):
    assert read(content, name).problems == [problem]


@pytest.mark.parametrize(
    ("content", "name", "line", "text"),
    [
        (RIS.replace("TY  - JOUR\nT1", "T1"), "a.ris", 12, "T1  - A survey of coffee"),
        (RIS + "\nA note about the entries\nin two lines\n", "a.ris", 18, "A note about the entries"),
        (RIS.replace("TY  - JOUR\nID", "Provider: P\nID"), "a.ris", 2, "ID  - 12"),
        (NBIB.replace("PMID- 23456789\n", ""), "a.nbib", 11, "TI  - A survey of coffee."),
        (WEB_OF_SCIENCE.replace("PT J\nTI", "TI"), "a.txt", 13, "TI A survey of coffee"),
    ],
)
def test_a_text_that_belongs_to_no_entry_is_a_bad_row(read, content, name, line, text):
    start = {"a.ris": "TY", "a.nbib": "PMID", "a.txt": "PT"}[name]
    remedy = f"begin its entry with a line {start}, or remove the line"
    assert read(content, name).problems == [f"line {line}: {text!r} belongs to no entry; {remedy}"]


def test_numbers_between_entries_are_no_text(read):
    found = read("1.\n" + RIS.replace("\nTY", "\n2.\nTY"), "a.ris")

    assert (len(found.rows), found.problems, list(found.remarks)) == (2, [], [])


def test_limits_of_lines_and_texts(read, refusal):
    assert refusal(RIS, "a.ris", limits=replace(LIMITS, line=20)) == (
        "line 5 has more than 20 characters; raise GREGORY_IMPORT_LINE if this is right",
    )
    assert read(RIS, "a.ris", limits=replace(LIMITS, cell=40)).problems[0] == (
        "line 1: a text with 44 characters, and the limit is 40; raise GREGORY_IMPORT_CELL if this is right"
    )
