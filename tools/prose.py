"""Count the words that make prose hard to read, per 1,000 words of documents and of docstrings.

`python -m tools.prose [--worst N] [--check] [PATH ...]` reads the files that Git tracks. It makes three counts:

- (a) `who`, `whoever`, `whom`, `whose`, `what`, `whatever`, `somebody`, `anybody`, `nobody`
- (b) all forms of `say`, `tell`, `look`, `stand`
- (c) semicolons

Code fences and code spans are left out. Documents are the Markdown files outside `findings/`.
Docstrings are those of Python files outside `tests/` and migrations.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,}).*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
# A code span ends with as many backticks as it begins with, and never reaches past a blank line.
SPAN = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)\1(?!`)", re.DOTALL)
WORD = re.compile(r"[A-Za-z']+")
PRONOUN = re.compile(r"\b(?:who|whoever|whom|whose|what|whatever|somebody|anybody|nobody)\b", re.IGNORECASE)
VERB = re.compile(r"\b(?:say(?:s|ing)?|said|tell(?:s|ing)?|told|look(?:s|ed|ing)?|stand(?:s|ing)?|stood)\b", re.IGNORECASE)


class Rates(NamedTuple):
    """Hits per 1,000 words."""

    pronouns: float
    verbs: float
    semicolons: float


LIMITS = Rates(3, 3, 4)


@dataclass(frozen=True, slots=True)
class Count:
    """Words of a text and the hits of each list in them."""

    words: int = 0
    pronouns: int = 0
    verbs: int = 0
    semicolons: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.words + other.words,
            self.pronouns + other.pronouns,
            self.verbs + other.verbs,
            self.semicolons + other.semicolons,
        )

    @property
    def hits(self) -> int:
        return self.pronouns + self.verbs + self.semicolons

    @property
    def rates(self) -> Rates:
        thousands = max(self.words, 1) / 1000
        return Rates(self.pronouns / thousands, self.verbs / thousands, self.semicolons / thousands)

    @property
    def within_limits(self) -> bool:
        return all(rate <= limit for rate, limit in zip(self.rates, LIMITS, strict=True))


def without_code(text: str) -> str:
    """Remove code fences and code spans from Markdown."""
    return SPAN.sub(" ", FENCE.sub(" ", text))


def count(text: str) -> Count:
    """Count one piece of Markdown."""
    prose = without_code(text)
    return Count(len(WORD.findall(prose)), len(PRONOUN.findall(prose)), len(VERB.findall(prose)), prose.count(";"))


def docstrings(source: str) -> Iterator[str]:
    """Yield the docstrings of a module, its classes and its functions. Raises SyntaxError for a source that is not Python."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            yield text


def count_docstrings(source: str) -> Count:
    """Count all docstrings of a module together."""
    return sum(map(count, docstrings(source)), Count())


def is_document(path: PurePosixPath) -> bool:
    """Path is relative to the top of the repository, as in the other functions here."""
    return path.suffix == ".md" and path.parts[0] != "findings"


def has_docstrings(path: PurePosixPath) -> bool:
    """Tests and migrations are not counted."""
    return path.suffix == ".py" and path.parts[0] != "tests" and "migrations" not in path.parts


def tracked_files(paths: Iterable[str]) -> list[PurePosixPath]:
    """List the existing files that Git tracks in the current folder, or only those at or below the paths."""
    listing = subprocess.run(["git", "ls-files", "-z", "--", *paths], check=True, capture_output=True, text=True).stdout
    return [PurePosixPath(name) for name in listing.split("\0") if name and Path(name).is_file()]


def count_files(files: Iterable[PurePosixPath], counter: Callable[[str], Count]) -> dict[PurePosixPath, Count]:
    """Read and count each file."""
    return {path: counter(Path(path).read_text(encoding="utf-8")) for path in files}


def row(name: str, words: int | str, rates: Rates) -> str:
    """One line of the table."""
    return f"{name:<60} {words:>7} " + " ".join(f"{rate:6.1f}" for rate in rates)


def table(name: str, counts: dict[PurePosixPath, Count], worst: int) -> list[str]:
    """Give the line of all files together, then those of the files with the most hits."""
    total = sum(counts.values(), Count())
    ranked = sorted((path for path in counts if counts[path].hits), key=lambda path: (-counts[path].hits, str(path)))
    return [
        row(name, total.words, total.rates),
        *(row(f"  {path}", counts[path].words, counts[path].rates) for path in ranked[:worst]),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the table. Return 1 with `--check` if a rate is above its limit, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.prose", description="Hits per 1,000 words in documents and docstrings.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a tracked file or folder (default: all)")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="list the N files with the most hits of each kind")
    parser.add_argument("--check", action="store_true", help="end with 1 if a rate is above its limit")
    options = parser.parse_args(arguments)

    files = tracked_files(options.paths)
    documents = count_files(filter(is_document, files), count)
    modules = count_files(filter(has_docstrings, files), count_docstrings)
    header = f"{'per 1,000 words':<60} {'words':>7} {'a who':>6} {'b say':>6} {'c ;':>6}"
    print(
        "\n".join(
            [header, *table("docs", documents, options.worst), *table("docstrings", modules, options.worst), row("at most", "", LIMITS)]
        )
    )

    totals = [sum(counts.values(), Count()) for counts in (documents, modules)]
    return int(options.check and not all(total.within_limits for total in totals))


if __name__ == "__main__":
    sys.exit(main())
