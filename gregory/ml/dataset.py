"""Articles, examples and data sets as plain values, and their files between stages: one JSON object per line."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gregory.ml.text import TEXT_VERSION, UNSTAMPED_VERSION, require_version

_VERSION = "text_version"
# In bytes. The default buffer of Python is smaller than most texts.
_BUFFER = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One article of the corpus. `label` is 1 (relevant), 0 (not relevant) or None (not reviewed)."""

    article_id: int
    title: str
    abstract: str
    label: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One text with its label: the input of the trainers. title: for people only; pseudo-labelled texts have none."""

    article_id: int
    text: str
    label: int
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledText:
    """One text without a review: part of the pool of pseudo-labelling."""

    article_id: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The probability of one article."""

    article_id: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Examples with unique texts, in order of article id, and the numbers of dropped examples.

    duplicates: examples dropped because an earlier example has the same text and label.
    conflicts: examples dropped because the same text has both labels. The correct label is unknown.
    """

    examples: tuple[Example, ...]
    duplicates: int
    conflicts: int

    def counts(self) -> dict[str, int]:
        """Examples per class."""
        relevant = sum(example.label for example in self.examples)
        return {"relevant": relevant, "not_relevant": len(self.examples) - relevant}

    def fingerprint(self) -> str:
        """sha256 of ids, labels and texts. Equal training data has the same fingerprint on every machine."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(json.dumps([example.article_id, example.label, example.text]).encode())
        return digest.hexdigest()


def deduplicate(examples: Iterable[Example]) -> Dataset:
    """Drop repeated texts, so that no text is in two parts of a split. Drop texts with both labels too."""
    rows = sorted(examples, key=lambda example: example.article_id)
    first: dict[str, Example] = {}
    labels: dict[str, set[int]] = {}
    for row in rows:
        first.setdefault(row.text, row)
        labels.setdefault(row.text, set()).add(row.label)
    kept = tuple(row for text, row in first.items() if len(labels[text]) == 1)
    conflicts = sum(len(labels[row.text]) > 1 for row in rows)
    return Dataset(examples=kept, duplicates=len(rows) - conflicts - len(kept), conflicts=conflicts)


def write_articles(path: Path, articles: Iterable[Article], *, version: int = TEXT_VERSION) -> int:
    """Write the text version in the first line and one article in each other line, streamed. Returns the number of articles."""
    return _write(path, articles, header={_VERSION: version})


def write_texts(path: Path, texts: Iterable[Example] | Iterable[UnlabelledText]) -> int:
    """Write one text per line, streamed. Returns the number of texts."""
    return _write(path, texts)


def read_articles(path: Path, *, version: int = TEXT_VERSION) -> Iterator[Article]:
    """The articles of a file that `write_articles` wrote, streamed. A file without a version has version 1.

    Raises ArtifactError if the file has another text version than the run needs. The run is refused and its texts are not made anew,
    so no work is lost. The release that started the run can still use the articles, summaries and checkpoints.
    """
    for position, value in enumerate(_read(path)):
        if position == 0:
            require_version(
                value.get(_VERSION, UNSTAMPED_VERSION),
                (version,),
                subject=f"{path}, written by an earlier attempt,",
                remedy="resume the run with the release that started it, or start a new run",
            )
        if _VERSION not in value:
            yield Article(**value)


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a file that `write_texts` wrote, streamed."""
    return (Example(**value) for value in _read(path))


def read_unlabelled(path: Path) -> Iterator[UnlabelledText]:
    """The unlabelled texts of a file that `write_texts` wrote, streamed."""
    return (UnlabelledText(**value) for value in _read(path))


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> int:
    """Write one prediction per line, streamed. Returns their number."""
    return _write(path, predictions)


def read_predictions(path: Path) -> Iterator[Prediction]:
    """The predictions of a file that `write_predictions` wrote, streamed."""
    return (Prediction(**value) for value in _read(path))


def _write(path: Path, values: Iterable[Any], *, header: dict[str, int] | None = None) -> int:
    count = 0
    with path.open("w", encoding="utf-8", buffering=_BUFFER) as stream:
        if header is not None:
            stream.write(json.dumps(header) + "\n")
        for value in values:
            stream.write(json.dumps({name: getattr(value, name) for name in value.__slots__}) + "\n")
            count += 1
    return count


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)
