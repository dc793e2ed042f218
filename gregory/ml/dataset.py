"""Articles, examples and data sets as plain values, and their files between stages."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Bytes before anything is written: a text fills the usual buffer several times a row.
_BUFFER = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One row as the corpus gives it. `label` is 1 (relevant), 0 (not relevant) or None (not reviewed)."""

    article_id: int
    title: str
    abstract: str
    label: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One text as the trainers read it."""

    article_id: int
    text: str
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelledText:
    """One text that nobody has reviewed yet: the pool of pseudo-labelling."""

    article_id: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Examples with unique texts, in order of article id, and what was left out to get there.

    duplicates: rows dropped because an earlier row has the same text and label.
    conflicts: rows dropped because the same text was labelled both ways; nobody knows which label is right.
    """

    examples: tuple[Example, ...]
    duplicates: int
    conflicts: int

    def counts(self) -> dict[str, int]:
        """Examples per class."""
        relevant = sum(example.label for example in self.examples)
        return {"relevant": relevant, "not_relevant": len(self.examples) - relevant}

    def fingerprint(self) -> str:
        """sha256 over ids, labels and texts: equal for equal training data, wherever it was read."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(json.dumps([example.article_id, example.label, example.text]).encode())
        return digest.hexdigest()


def deduplicate(examples: Iterable[Example]) -> Dataset:
    """Drop repeated texts, so that none can stand in two parts of a split, and texts labelled both ways."""
    import pandas as pd  # here, since the operator's side reads articles without it

    rows = sorted(examples, key=lambda example: example.article_id)
    if not rows:
        return Dataset(examples=(), duplicates=0, conflicts=0)
    frame = pd.DataFrame({"text": [row.text for row in rows], "label": [row.label for row in rows]})
    conflicting = frame.groupby("text")["label"].transform("nunique") > 1
    repeated = frame.duplicated("text") & ~conflicting
    keep = ~(conflicting | repeated)
    return Dataset(
        examples=tuple(row for row, kept in zip(rows, keep, strict=True) if kept),
        duplicates=int(repeated.sum()),
        conflicts=int(conflicting.sum()),
    )


def write_rows(path: Path, rows: Iterable[Article] | Iterable[Example] | Iterable[UnlabelledText]) -> int:
    """Write one JSON object per line, streamed; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8", buffering=_BUFFER) as stream:
        for row in rows:
            stream.write(json.dumps({name: getattr(row, name) for name in row.__slots__}) + "\n")
            count += 1
    return count


def read_articles(path: Path) -> Iterator[Article]:
    """The articles of a file written by `write_rows`, streamed."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield Article(**json.loads(line))


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a file written by `write_rows`, streamed."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield Example(**json.loads(line))


def read_unlabelled(path: Path) -> Iterator[UnlabelledText]:
    """The unlabelled texts of a file written by `write_rows`, streamed."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield UnlabelledText(**json.loads(line))
