"""The rows of a file: what makes an article, equal rows, bad rows, and every combination of forms."""

import itertools

import pytest

HEADER = "id,title,abstract,relevant,discovery_date\n"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("12, ,Cups.,1,", "column title: the title is blank; add it, or remove the row"),
        ("12,T\0a,Cups.,1,", "a NUL character, which PostgreSQL cannot store; remove it"),
        ("1\0,Tea,Cups.,1,", "a NUL character, which PostgreSQL cannot store; remove it"),
        ("12,Tea,C\0ps.,1,", "a NUL character, which PostgreSQL cannot store; remove it"),
        (
            "12,Tea,Cups.,maybe,",
            "column relevant: 'maybe' is no label; write 1 or 0, true or false, yes or no, include or exclude, relevant or irrelevant, or "
            "blank for not reviewed, or give --relevant-value",
        ),
        (f"{'7' * 501},Tea,Cups.,1,", f"column id: the identifier '{'7' * 57}...' has more than 500 characters"),
    ],
)
def test_bad_rows_name_place_column_value_and_remedy(read, record, message):
    found = read(HEADER + "11,Tea,Cups.,1,\n" + record + "\n")
    assert found.problems == [f"line 3: {message}"]
    assert [row.source_id for row in found.rows] == ["11"]


def test_equal_rows_are_one_article(read):
    found = read(HEADER + "12,Tea,Cups.,1,\n13,Milk,,,\n12,Tea,Cups.,1,\n")
    assert ([row.source_id for row in found.rows], found.repeated, found.problems) == (["12", "13"], 1, [])


@pytest.mark.parametrize(
    ("record", "difference"),
    [("12,Coffee,Cups.,1,", "another title"), ("12,Tea,Mugs.,1,", "another abstract"), ("12,Tea,Cups.,0,", "another label")],
)
def test_an_identifier_with_two_articles_is_a_bad_row(read, record, difference):
    assert read(HEADER + "12,Tea,Cups.,1,\n" + record + "\n").problems == [
        f"line 3: the identifier '12' is also in line 2, with {difference}; keep one of the two"
    ]


def test_rows_without_an_identifier_get_one_from_their_content(read):
    rows = read("pmid,title,abstract,doi\n,A,Text,\n123456,B,Text,\n,C,Text,10.1000/C\n").rows
    assert [row.source_id.partition(":")[0] for row in rows] == ["text", "123456", "doi"]
    assert [row.link for row in rows] == [
        f"urn:article:{rows[0].source_id}",
        "https://pubmed.ncbi.nlm.nih.gov/123456/",
        "https://doi.org/10.1000/c",
    ]


@pytest.mark.parametrize("row", [f"10.1000/{'x' * 2000},", f",{'1' * 2000}"])
def test_a_number_of_a_publisher_that_is_too_long_is_none(read, row):
    (found,) = read(f"id,title,doi,pmid\n12,Tea,{row}\n").rows
    assert found.link == "urn:article:12"


def test_an_identifier_that_is_an_address_is_the_link(read):
    assert read("id,title\nhttps://openalex.org/W1,Tea\n").rows[0].link == "https://openalex.org/W1"


def test_dates_that_cannot_be_read_are_collected(read):
    found = read(HEADER + "1,A,,1,soon\n2,B,,0,3/4/2025\n3,C,,0,\n4,D,,0,2025\n")
    assert found.unreadable_dates == ["soon", "3/4/2025"]
    assert [row.discovery_date is None for row in found.rows] == [True, True, True, False]


def test_a_header_alone_is_refused(refusal):
    assert refusal(HEADER) == ("papers.csv has no article after its header; its columns are id, title, abstract, relevant, discovery_date",)


SEPARATORS = ",;\t|"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")
WORDS = (
    ("1", "0"),
    ("1.0", "0.0"),
    ("True", "False"),
    ("yes", "no"),
    ("Y", "N"),
    ("Include", "Exclude"),
    ("i", "e"),
    ("relevant", "irrelevant"),
)
IDS = (
    ("1", "2"),
    ("9030.0", "9031.0"),
    ("a-1", "b-2"),
    ("10.1000/x", "10.1000/y"),
    ("https://openalex.org/W1", "https://openalex.org/W2"),
    ("", ""),
)


@pytest.mark.parametrize(("separator", "encoding"), list(itertools.product(SEPARATORS, ENCODINGS)))
def test_every_combination_of_separator_encoding_words_and_identifiers_gives_the_same_articles(read, separator, encoding):
    for (yes, no), ids in itertools.product(WORDS, IDS):
        lines = [("id", "title", "abstract", "relevant"), (ids[0], "Café", "‘Cups’ – é", yes), (ids[1], "Thé", "Mugs", no)]
        content = "\r\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines).encode(encoding)

        rows = read(content).rows

        assert [(row.title, row.summary, row.label) for row in rows] == [("Café", "‘Cups’ – é", True), ("Thé", "Mugs", False)]
        if ids[0]:
            assert [row.source_id for row in rows] == [value.removesuffix(".0") for value in ids]
        assert rows == read(content).rows
