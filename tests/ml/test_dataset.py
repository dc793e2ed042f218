"""Repeated texts, the files between stages, and the text version of the articles file."""

import json
from pathlib import Path

import pytest

from gregory.ml.dataset import (
    Article,
    Example,
    UnlabelledText,
    deduplicate,
    read_articles,
    read_examples,
    read_unlabelled,
    write_articles,
    write_texts,
)
from gregory.ml.errors import ArtifactError
from gregory.ml.text import TEXT_VERSION


def test_deduplicate_keeps_the_first_of_equal_examples_and_counts_the_others() -> None:
    dataset = deduplicate([example(3, "same", 1), example(1, "same", 1), example(2, "other", 0), example(4, "same", 1)])
    assert [kept.article_id for kept in dataset.examples] == [1, 2]
    assert (dataset.duplicates, dataset.conflicts) == (2, 0)


def test_deduplicate_drops_every_example_of_a_text_with_both_labels() -> None:
    dataset = deduplicate([example(1, "both", 1), example(2, "both", 0), example(3, "both", 0), example(4, "once", 1)])
    assert [kept.article_id for kept in dataset.examples] == [4]
    assert (dataset.duplicates, dataset.conflicts) == (0, 3)


def test_deduplicate_without_examples_gives_an_empty_dataset() -> None:
    dataset = deduplicate([])
    assert (dataset.examples, dataset.counts()) == ((), {"relevant": 0, "not_relevant": 0})


def test_counts_per_class() -> None:
    assert deduplicate([example(1, "a", 1), example(2, "b", 0), example(3, "c", 0)]).counts() == {"relevant": 1, "not_relevant": 2}


def test_fingerprint_does_not_depend_on_the_order_of_reading() -> None:
    texts = [example(1, "a", 1), example(2, "b", 0)]
    assert deduplicate(texts).fingerprint() == deduplicate(reversed(texts)).fingerprint()


@pytest.mark.parametrize("changed", [(1, "a", 0), (1, "A", 1), (3, "a", 1)])
def test_fingerprint_changes_with_label_text_and_id(changed: tuple[int, str, int]) -> None:
    before = deduplicate([example(1, "a", 1), example(2, "b", 0)]).fingerprint()
    assert deduplicate([example(*changed), example(2, "b", 0)]).fingerprint() != before


@pytest.mark.parametrize(
    "content", ["plain", "line\u2028and\u2029paragraph", "next\x85line", "tab\tnew\nline\r\n", "naïve 漢字 🧬", '"quoted" \\ <b>']
)
def test_examples_are_read_as_they_were_written(tmp_path: Path, content: str) -> None:
    texts = [example(1, content, 1), example(2, "after", 0)]
    assert write_texts(tmp_path / "texts.jsonl", texts) == 2
    assert list(read_examples(tmp_path / "texts.jsonl")) == texts


@pytest.mark.parametrize("label", [0, 1, None])
def test_articles_are_read_as_they_were_written(tmp_path: Path, label: int | None) -> None:
    articles = [Article(article_id=7, title="Title\u2028", abstract="", label=label)]
    assert write_articles(tmp_path / "articles.jsonl", articles) == 1
    assert list(read_articles(tmp_path / "articles.jsonl")) == articles


def test_articles_file_begins_with_the_text_version(tmp_path: Path) -> None:
    write_articles(tmp_path / "articles.jsonl", [], version=7)
    assert json.loads((tmp_path / "articles.jsonl").read_text()) == {"text_version": 7}


def test_articles_of_another_text_version_are_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "articles.jsonl"
    write_articles(path, [Article(article_id=7, title="Title", abstract="", label=1)], version=1)
    with pytest.raises(ArtifactError) as caught:
        list(read_articles(path))
    assert str(caught.value) == (
        f"{path}, written by an earlier attempt, has text version 1, and not {TEXT_VERSION}: "
        "resume the run with the release that started it, or start a new run"
    )


OLD_LINE = '{"article_id": 7, "title": "Title", "abstract": "", "label": 1}\n'


def test_articles_file_without_a_version_has_version_1(tmp_path: Path) -> None:
    (tmp_path / "articles.jsonl").write_text(OLD_LINE)
    assert list(read_articles(tmp_path / "articles.jsonl", version=1)) == [Article(article_id=7, title="Title", abstract="", label=1)]
    with pytest.raises(ArtifactError, match="has text version 1, and not 2"):
        list(read_articles(tmp_path / "articles.jsonl", version=2))


def test_unlabelled_texts_are_read_as_they_were_written(tmp_path: Path) -> None:
    texts = [UnlabelledText(article_id=7, text="text\u2028"), UnlabelledText(article_id=8, text="")]
    write_texts(tmp_path / "texts.jsonl", texts)
    assert list(read_unlabelled(tmp_path / "texts.jsonl")) == texts


def test_file_without_texts_is_empty(tmp_path: Path) -> None:
    assert write_texts(tmp_path / "texts.jsonl", list[Example]()) == 0
    assert list(read_examples(tmp_path / "texts.jsonl")) == []


def example(article_id: int, text: str, label: int) -> Example:
    return Example(article_id=article_id, text=text, label=label)
