"""GregoryAI's file of training data: three columns, no formulas for spreadsheets, and the same articles after an import."""

import csv
import random
from pathlib import Path

import pytest

from gregory.data.dataset_csv import cell, title_and_abstract, write
from gregory.data.imports.read import ImportRow, Wanted, read_file
from gregory.data.imports.table import Limits
from gregory.ml.dataset import Article
from gregory.ml.text import clean


def read(path: Path) -> list[ImportRow]:
    found = read_file(path, Wanted(), Limits(line=100_000, cell=100_000, unpacked=0))
    assert found.problems == []
    return list(found.rows)


def article(title: str, abstract: str = "", *, number: int = 1, label: int = 1) -> Article:
    return Article(article_id=number, title=title, abstract=abstract, label=label)


def test_the_file_has_the_columns_of_gregoryai_in_utf_8(tmp_path: Path):
    counts = write(tmp_path / "a.csv", [article("Ätiologie", "Of this, and of that."), article("Alone", number=2, label=0)], source_ids={})

    assert counts == (1, 1)
    assert (tmp_path / "a.csv").read_bytes().decode("utf-8") == (
        'article_id,text,relevant\n1,"Ätiologie\nOf this, and of that.",1\n2,Alone,0\n'
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1 of 9", "@cmd", "\uff1dsum", "'=1+1", "''-x"])
def test_a_formula_becomes_text_in_a_spreadsheet(text: str):
    assert cell(article(text)) == f"'{text}"
    assert title_and_abstract(f"'{text}") == (text, "")


def test_an_abstract_without_a_title_begins_with_its_line_break():
    assert cell(article("", "words")) == "'\nwords"
    assert title_and_abstract("'\nwords") == ("", "words")


@pytest.mark.parametrize("text", ["'tis a title", "p < 0.05", "A-B=C"])
def test_other_texts_are_not_changed(text: str):
    assert cell(article(text)) == text


def test_the_identifier_of_the_imported_file_is_given_back(tmp_path: Path):
    write(tmp_path / "a.csv", [article("Tea", number=7), article("Milk", number=8, label=0)], source_ids={7: "10.1000/x"})

    assert [row.source_id for row in read(tmp_path / "a.csv")] == ["10.1000/x", "8"]


def test_an_export_of_gregoryai_is_read_as_titles(tmp_path: Path):
    (tmp_path / "theirs.csv").write_text("article_id,text,relevant\n7,title and abstract in one line,0\n")

    (row,) = read(tmp_path / "theirs.csv")

    assert (row.source_id, row.title, row.summary, row.label) == ("7", "title and abstract in one line", "", False)


def test_clean_articles_are_equal_after_writing_and_reading(tmp_path: Path):
    random.seed(69)
    pieces = [
        "=",
        "'",
        "-",
        "@",
        ",",
        '"',
        " ",
        "&",
        "&amp;",
        "&lt;",
        "&amp;lt;b&amp;gt;",
        "<b>",
        "<",
        "a",
        "é",
        "漢",
        "\u00a0",
        "\n",
        "\r\n",
        ";",
    ]
    raw = ["".join(random.choices(pieces, k=random.randrange(12))) for _ in range(4000)]
    articles = [
        article(clean(title), clean(abstract), number=number, label=number % 2)
        for number, (title, abstract) in enumerate(zip(raw[::2], raw[1::2], strict=True), 1)
    ]
    write(tmp_path / "a.csv", articles, source_ids={})

    rows = read(tmp_path / "a.csv")

    again = [article(clean(row.title), clean(row.summary), number=int(row.source_id), label=int(row.label is True)) for row in rows]
    assert again == articles
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as stream:
        assert {len(record) for record in csv.reader(stream)} == {3}
