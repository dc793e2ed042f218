"""GregoryAI's file of training data, `article_id,text,relevant`, in both directions: what goes out comes back as it was.

The first line of a text is the title, the rest the abstract, which training summarises. A text of one line is a title alone and is
read as it stands, as all texts of GregoryAI's own exports are.
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

from gregory.ml.dataset import Article
from gregory.ml.text import clean

COLUMNS = ("article_id", "text", "relevant")
# A spreadsheet takes a cell that begins so for a formula, whatever the quotes around it. An apostrophe before it shows it as text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def write(path: Path, articles: Iterable[Article]) -> tuple[int, int]:
    """A file with these articles, streamed, in place at once or not at all; how many of them are relevant, and how many are not."""
    relevant = not_relevant = 0
    unfinished = path.with_name(f"{path.name}.partial")
    with unfinished.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(COLUMNS)
        for article in articles:
            rows.writerow((article.article_id, cell(article), article.label))
            relevant += article.label == 1
            not_relevant += article.label == 0
    unfinished.replace(path)
    return relevant, not_relevant


def cell(article: Article) -> str:
    """The text of an article as the file holds it."""
    text = f"{article.title}\n{article.abstract}" if article.abstract else article.title
    return f"'{text}" if _FORMULA.match(text) else text


def title_and_abstract(text: str) -> tuple[str, str]:
    """What `cell` was made from, as a database holds it: cleaned when it is read, it is the same again."""
    if text.startswith("'") and _FORMULA.match(text):
        text = text[1:]
    title, _, abstract = text.partition("\n")
    return _raw(title), _raw(abstract)


def _raw(text: str) -> str:
    # Clean text is decoded already; what still looks like an entity is meant as it stands.
    return text if clean(text) == text else text.replace("&", "&amp;")
