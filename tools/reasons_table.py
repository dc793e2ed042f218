"""`python -m tools.reasons_table` writes the tables of reasons in the documents. gregory/runs/reasons.py has their content."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from gregory.runs.reasons import Entry, Reason

DOCS = Path(__file__).resolve().parent.parent / "docs"

Cells = Callable[[Entry], tuple[str, ...]]
# By document and by the name in its marker: the head of the table and the cells after the word.
TABLES: dict[tuple[str, str], tuple[tuple[str, ...], Cells]] = {
    ("run-lifecycle.md", "reasons"): (
        ("reason", "origin", "meaning", "content of `error_message`"),
        lambda entry: (entry.origin, entry.meaning, entry.row_text),
    ),
    ("run-lifecycle.md", "results of reasons"): (
        ("reason", "retried", "resume offered", "remedy"),
        lambda entry: (entry.retried, "yes" if entry.resumable else "no", entry.remedy),
    ),
    ("operations.md", "remedies of reasons"): (("reason", "remedy"), lambda entry: (entry.remedy,)),
}


def generated(document: str) -> str:
    """The text that the document should have."""
    text = (DOCS / document).read_text(encoding="utf-8")
    for (name, marker), (head, cells) in TABLES.items():
        if name == document:
            lines = [head, ("---",) * len(head), *((f"`{reason}`", *cells(reason.entry)) for reason in Reason)]
            marks = re.compile(rf"(<!-- {marker}: .*? -->\n).*?(<!-- end of {marker} -->)", re.DOTALL)
            text, replaced = marks.subn(partial(_between, "\n".join(map(_line, lines))), text)
            if replaced != 1:
                raise ValueError(f"docs/{document} has {replaced} places for the table {marker!r}; mark one")
    return text


def documents() -> list[str]:
    """The documents with such a table."""
    return sorted({document for document, _ in TABLES})


def _line(cells: Iterable[str]) -> str:
    return "|---" * len(tuple(cells)) + "|" if set(cells) == {"---"} else f"| {' | '.join(cells)} |"


def _between(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}\n{table}\n\n{found[2]}"


if __name__ == "__main__":
    for document in documents():
        (DOCS / document).write_text(generated(document), encoding="utf-8")
