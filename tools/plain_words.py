"""List the retired words that code, documents, chart and messages still use, with the words to write instead.

`python -m tools.plain_words [PATH ...]` reads the files that Git tracks. It ends with 1 if it finds a retired word.
`retired_words.toml` holds the words and explains its own form.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tools.prose import tracked_files

TABLE = Path(__file__).with_name("retired_words.toml")
SUFFIXES = {"", ".html", ".md", ".py", ".sh", ".sql", ".toml", ".tpl", ".train", ".txt", ".yaml"}

_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PHRASE = re.compile(r"[a-z0-9 ]+")
# Python joins two string literals: the end of one, a line break, the prefix and the beginning of the next.
_JOINT = re.compile(r"""(["'])\s*\n\s*[rRbBfF]{0,2}\1""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """A pattern of paths with the reason for the exception."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """An entry of the table."""

    write: str
    words: tuple[str, ...] = ()
    definitions: tuple[str, ...] = ()
    only: tuple[str, ...] = ("*",)
    allowed: tuple[Allowed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The content of `retired_words.toml`."""

    entries: tuple[Retired, ...]
    excluded: tuple[Allowed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A retired word in a file. In line 0 it is part of the path."""

    path: str
    line: int
    word: str
    write: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word}: write {self.write}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The hits that are not allowed, and the allowances without a hit."""

    hits: tuple[Hit, ...]
    unused: tuple[Allowed, ...]


def parse_table(text: str) -> Table:
    """Read the table. Raises TypeError or KeyError for an unknown or missing key."""

    def exceptions(values: Iterable[Any]) -> tuple[Allowed, ...]:
        return tuple(Allowed(**value) for value in values)

    def entry(write: str, allowed: Iterable[Any] = (), **lists: list[str]) -> Retired:
        return Retired(write=write, allowed=exceptions(allowed), **{key: tuple(values) for key, values in lists.items()})

    content = tomllib.loads(text)
    return Table(entries=tuple(entry(**value) for value in content["retired"]), excluded=exceptions(content.get("excluded", ())))


def check(files: Mapping[str, str], table: Table) -> Result:
    """Search every file for every entry. `files` holds the texts by path, relative to the top of the repository."""
    hits: list[Hit] = []
    used: set[tuple[Retired, Allowed]] = set()
    for path, text in files.items():
        source = _Source(path, text)
        for entry in table.entries:
            if not any(fnmatchcase(path, pattern) for pattern in entry.only):
                continue
            found = sorted(source.find(entry))
            exception = next((allowed for allowed in entry.allowed if fnmatchcase(path, allowed.path)), None)
            if exception is None:
                hits += [Hit(path=path, line=line, word=word, write=entry.write) for line, word in found]
            elif found:
                used.add((entry, exception))
    unused = tuple(allowed for entry in table.entries for allowed in entry.allowed if (entry, allowed) not in used)
    return Result(hits=tuple(hits), unused=unused)


class _Source:
    """A file that can be searched for many entries."""

    def __init__(self, path: str, text: str) -> None:
        # The path becomes line 0.
        self._text = f"{path}\n{_JOINT.sub(_blank, text)}"
        self._tokens = [(match.group().lower(), match.start()) for match in _TOKEN.finditer(self._text)]
        self._positions: dict[str, list[int]] = defaultdict(list)
        for position, (token, _) in enumerate(self._tokens):
            self._positions[token].append(position)
        python = path.endswith(".py")
        self._definitions = [*((name, 0) for name in Path(path).with_suffix("").parts), *definitions(text)] if python else []

    def find(self, entry: Retired) -> Iterator[tuple[int, str]]:
        """Yield line and word of each hit."""
        for word in entry.words:
            offsets = self._phrase(word.split()) if _PHRASE.fullmatch(word) else self._literal(word)
            yield from ((self._text.count("\n", 0, offset), word) for offset in offsets)
        yield from ((line, name) for name, line in self._definitions if name in entry.definitions)

    def _phrase(self, words: list[str]) -> Iterator[int]:
        for position in self._positions.get(words[0], ()):
            if [token for token, _ in self._tokens[position : position + len(words)]] == words:
                yield self._tokens[position][1]

    def _literal(self, word: str) -> Iterator[int]:
        # An underscore before a Python name makes it private and nothing else.
        pattern = rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9_])"
        yield from (match.start() for match in re.finditer(pattern, self._text))


def definitions(source: str) -> Iterator[tuple[str, int]]:
    """Yield name and line of all classes and functions, and of the variables of the module and its classes.

    Raises SyntaxError for a source that is not Python.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement in node.body:
                targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                yield from ((target.id, statement.lineno) for target in targets if isinstance(target, ast.Name))


def _blank(match: re.Match[str]) -> str:
    """Keep offsets and line breaks."""
    return re.sub(r"[^\n]", " ", match.group())


def readable_files(paths: Iterable[str], table: Table) -> dict[str, str]:
    """Read the tracked text files at or below the paths, less those that the table excludes."""
    return {
        str(path): Path(path).read_text(encoding="utf-8")
        for path in tracked_files(paths)
        if path.suffix in SUFFIXES
        and Path(path).resolve() != TABLE
        and not any(fnmatchcase(str(path), excluded.path) for excluded in table.excluded)
    }


def main(arguments: list[str] | None = None) -> int:
    """Print the hits. Return 1 if there are any, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tools.plain_words", description="List retired words and their replacements.")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a tracked file or folder (default: all)")
    options = parser.parse_args(arguments)

    table = parse_table(TABLE.read_text(encoding="utf-8"))
    result = check(readable_files(options.paths, table), table)
    print(*result.hits, f"retired words: {len(result.hits)}", sep="\n")
    return int(bool(result.hits))


if __name__ == "__main__":
    sys.exit(main())
