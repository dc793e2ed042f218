"""GregoryAI's file of training data, `article_id,text,relevant`. A written file gives the same articles when it is imported.

The first line of a text is the title. The other lines are the abstract, which a training summarises. A text of one line is a title
only and is not summarised. All texts of GregoryAI's own exports have one line.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from gregory.ml.dataset import Article
from gregory.ml.spreadsheet import as_cell, from_cell
from gregory.ml.text import clean

COLUMNS = ("article_id", "text", "relevant")


def write(path: Path, articles: Iterable[Article], *, source_ids: Mapping[int, str]) -> tuple[int, int]:
    """Write the articles, streamed. Returns the numbers of relevant and not relevant articles.

    source_ids: the identifiers of imported articles in their files, by article id. One rename puts the complete file in place.
    """
    relevant = not_relevant = 0
    unfinished = path.with_name(f"{path.name}.partial")
    with unfinished.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)
        for article in articles:
            rows.writerow((as_cell(source_ids.get(article.article_id, str(article.article_id))), cell(article), article.label))
            relevant += article.label == 1
            not_relevant += article.label == 0
    unfinished.replace(path)
    return relevant, not_relevant


def cell(article: Article) -> str:
    """The text of an article in the file."""
    return as_cell(f"{article.title}\n{article.abstract}" if article.abstract else article.title)


def title_and_abstract(text: str) -> tuple[str, str]:
    """Title and abstract of a text from `cell`, for a database. `clean` of both gives the original title and abstract."""
    title, _, abstract = from_cell(text).partition("\n")
    return _raw(title), _raw(abstract)


def _raw(text: str) -> str:
    # Clean text is decoded. An "entity" in it is literal text, so its ampersand is encoded.
    return text if clean(text) == text else text.replace("&", "&amp;")
