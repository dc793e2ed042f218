"""Labelled CSV files with the columns title, abstract and a label, as a training would read them."""

import csv
from pathlib import Path

from gregory.ml.dataset import Dataset, Example, deduplicate
from gregory.ml.summarisers.leading import LeadingSentences
from gregory.ml.text import abstract, clean, join

LABEL_COLUMNS = ("relevant", "label")


def is_labelled(path: Path) -> bool:
    """Whether the file has labels. The column of labels may be empty."""
    with path.open(encoding="utf-8", newline="") as stream:
        return any(row.get(column) for row in csv.DictReader(stream) for column in LABEL_COLUMNS)


def read(path: Path, *, words: int | None) -> Dataset:
    """Title and leading sentences of the abstract, up to `words` words. None: the whole abstract. Ids are numbers of labelled rows.

    A file with the column text_processed has both in one text, which counts as the abstract.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    label = next(column for column in LABEL_COLUMNS if column in rows[0])
    rows = [row for row in rows if row[label]]
    if "text_processed" in rows[0]:
        rows = [{**row, "title": "", "abstract": row["text_processed"]} for row in rows]
    abstracts = [abstract(row["abstract"]) for row in rows]
    summaries = abstracts if words is None else LeadingSentences(words=words).summarise(abstracts)
    return deduplicate(
        Example(article_id=number, text=join(clean(row["title"]), summary), label=int(float(row[label])))
        for number, (row, summary) in enumerate(zip(rows, summaries, strict=True))
    )
