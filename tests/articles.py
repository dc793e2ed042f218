"""Invented articles in the CSV format of import_articles."""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.ml.tiny_models import IRRELEVANT, RELEVANT
from tools.installation import Installation


class Row(NamedTuple):
    """One line of the file. An empty label means not reviewed."""

    article_id: int
    title: str
    summary: str
    relevant: str
    discovery_date: str = ""


def labelled(count: int, *, first: int) -> list[Row]:
    """Articles of both classes in turn, with different words for each class. Every text is unique."""
    return list(_rows(count, first))


def store(installation: Installation, rows: Iterable[Row], *, team: str = "t", subject: str) -> None:
    """Import the rows into a subject, which is created if it is missing."""
    path = installation.folder / "articles.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    installation.must("import_articles", str(path), "--team", team, "--subject", subject)


def _rows(count: int, first: int) -> Iterator[Row]:
    for number in range(first, first + count):
        words = RELEVANT if number % 2 else IRRELEVANT
        word, other = words[number % len(words)], words[number // 2 % len(words)]
        yield Row(number, f"The {word} in study {number}", f"A {other} of {word} was seen. It was the {number}th.", str(number % 2))
