"""Text as the classifiers read it, repeated texts, and the files between stages."""

import re
import sys
from pathlib import Path

import pytest

from gregory.ml.dataset import Article, Example, UnlabelledText, deduplicate, read_articles, read_examples, read_unlabelled, write_rows
from gregory.ml.text import clean, join


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, ""),
        ("", ""),
        (" \n\t ", ""),
        ("plain text", "plain text"),
        ("<p>One</p><p>Two</p>", "One Two"),
        ('<a href="https://example.org/x?a=1&amp;b=2">link</a> text', "link text"),
        ("line<br/>break", "line break"),
        ("<jats:title>Background</jats:title>Text", "Background Text"),
        ("caf&eacute; &amp; bar", "café & bar"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("5&nbsp;mg", "5 mg"),
        ("one\r\ntwo\r\rthree", "one two three"),
        ("nul\x00byte", "nul byte"),
        ("bell\x07 and\x7fdelete", "bell and delete"),
        ("line\u2028separator", "line separator"),
    ],
)
def test_clean(raw: str | None, expected: str) -> None:
    assert clean(raw) == expected


def test_every_blank_and_control_character_there_is_becomes_one_space() -> None:
    folded = [code for code in range(sys.maxunicode + 1) if clean(f"a{chr(code)}{chr(code)} b") == "a b"]

    assert folded == [code for code in range(sys.maxunicode + 1) if re.match(r"[\s\x00-\x1f\x7f]", chr(code))]


@pytest.mark.parametrize("prose", ["p <0.05 and n > 12", "P</=.03 and >/= 4", "a < b", "β-amyloid, 3 ± 0.5 µg", "1 <or= 2"])
def test_clean_leaves_prose_alone(prose: str) -> None:
    assert clean(prose) == prose


def test_clean_reads_an_encoded_comparison_as_prose() -> None:
    assert clean("p &lt;0.05 and n &gt; 12") == "p <0.05 and n > 12"


def test_clean_keeps_what_stands_between_two_signs_of_comparison() -> None:
    assert clean("responders a<b and c>d were kept") == "responders a<b and c>d were kept"


@pytest.mark.parametrize(("summary", "expected"), [("What it found.", "Title What it found."), ("", "Title")])
def test_join_falls_back_to_the_title(summary: str, expected: str) -> None:
    assert join("Title", summary) == expected


def test_deduplicate_keeps_the_first_of_equal_rows_and_counts_the_others() -> None:
    dataset = deduplicate([example(3, "same", 1), example(1, "same", 1), example(2, "other", 0), example(4, "same", 1)])
    assert [row.article_id for row in dataset.examples] == [1, 2]
    assert (dataset.duplicates, dataset.conflicts) == (2, 0)


def test_deduplicate_drops_every_row_of_a_text_labelled_both_ways() -> None:
    dataset = deduplicate([example(1, "both", 1), example(2, "both", 0), example(3, "both", 0), example(4, "once", 1)])
    assert [row.article_id for row in dataset.examples] == [4]
    assert (dataset.duplicates, dataset.conflicts) == (0, 3)


def test_deduplicate_of_nothing_is_an_empty_dataset() -> None:
    dataset = deduplicate([])
    assert (dataset.examples, dataset.counts()) == ((), {"relevant": 0, "not_relevant": 0})


def test_counts_per_class() -> None:
    assert deduplicate([example(1, "a", 1), example(2, "b", 0), example(3, "c", 0)]).counts() == {"relevant": 1, "not_relevant": 2}


def test_fingerprint_does_not_depend_on_the_order_of_reading() -> None:
    rows = [example(1, "a", 1), example(2, "b", 0)]
    assert deduplicate(rows).fingerprint() == deduplicate(reversed(rows)).fingerprint()


@pytest.mark.parametrize("changed", [(1, "a", 0), (1, "A", 1), (3, "a", 1)])
def test_fingerprint_changes_with_label_text_and_id(changed: tuple[int, str, int]) -> None:
    before = deduplicate([example(1, "a", 1), example(2, "b", 0)]).fingerprint()
    assert deduplicate([example(*changed), example(2, "b", 0)]).fingerprint() != before


@pytest.mark.parametrize(
    "text", ["plain", "line\u2028and\u2029paragraph", "next\x85line", "tab\tnew\nline\r\n", "naïve 漢字 🧬", '"quoted" \\ <b>']
)
def test_examples_come_back_as_they_were_written(tmp_path: Path, text: str) -> None:
    rows = [example(1, text, 1), example(2, "after", 0)]
    assert write_rows(tmp_path / "rows.jsonl", rows) == 2
    assert list(read_examples(tmp_path / "rows.jsonl")) == rows


@pytest.mark.parametrize("label", [0, 1, None])
def test_articles_come_back_as_they_were_written(tmp_path: Path, label: int | None) -> None:
    rows = [Article(article_id=7, title="Title\u2028", abstract="", label=label)]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert list(read_articles(tmp_path / "rows.jsonl")) == rows


def test_unlabelled_texts_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [UnlabelledText(article_id=7, text="text\u2028"), UnlabelledText(article_id=8, text="")]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert list(read_unlabelled(tmp_path / "rows.jsonl")) == rows


def test_file_of_no_rows_is_empty(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "rows.jsonl", list[Example]()) == 0
    assert list(read_examples(tmp_path / "rows.jsonl")) == []


def example(article_id: int, text: str, label: int) -> Example:
    return Example(article_id=article_id, text=text, label=label)
