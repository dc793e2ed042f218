"""The versions on which the tests ran, as sessions of pytest recorded them. `python -m tools.tested_versions` writes their table.

`pytest --record-versions` adds its results to docs/tested-versions.json. tests/recorded_versions.py chooses the tests that count.
"""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tools.chart import helm
from tools.cluster import binaries, kueue

DOCS = Path(__file__).resolve().parent.parent / "docs"
RESULTS, DOCUMENT = DOCS / "tested-versions.json", DOCS / "kubernetes.md"
_MARKS = re.compile(r"(<!-- tested versions: .*? -->\n).*?(<!-- end of tested versions -->)", re.DOTALL)
_HEAD = ("Kubernetes", "Helm", "Kueue", "tests", "passed", "failed", "last run", "repeated")


class Programs(NamedTuple):
    """The versions of a test, without "v". Empty: it does not use the program."""

    kubernetes: str = ""
    helm: str = ""
    kueue: str = ""


# Versions that the tests can build.
BUILT = (
    *(Programs(kubernetes=version.removeprefix("v")) for version in binaries.VERSIONS),
    *(Programs(helm=version.removeprefix("v")) for version in helm.VERSIONS),
    Programs(kueue=kueue.VERSION.removeprefix("v")),
)


class Result(NamedTuple):
    """The tests of one file on these programs. day: of the run, as 2026-11-30. is_default: the run chose no version, as in CI."""

    programs: Programs
    file: str
    passed: int
    failed: int
    day: str
    is_default: bool


def load(file: Path = RESULTS) -> list[Result]:
    """The recorded results. None without the file."""
    if not file.exists():
        return []
    return [Result(**{**one, "programs": Programs(**one["programs"])}) for one in json.loads(file.read_text(encoding="utf-8"))]


def add(results: Iterable[Result], file: Path = RESULTS) -> None:
    """Record the results. Each replaces the earlier one of its file and programs."""
    kept = {(one.programs, one.file): one for one in (*load(file), *results)}
    lines = [json.dumps({**one._asdict(), "programs": one.programs._asdict()}) for one in sorted(kept.values())]
    file.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def generated(text: str, results: Sequence[Result]) -> str:
    """The document with the table of these results, and of versions without results. Raises ValueError without the two markers."""
    lines = [_line(_HEAD), "|---" * len(_HEAD) + "|", *map(_line, (*_rows(results), *_without(results)))]
    text, replaced = _MARKS.subn(lambda found: "\n".join((found[1], *lines, "", found[2])), text)
    if replaced != 1:
        raise ValueError(f"docs/{DOCUMENT.name} has {replaced} places for the table of tested versions; mark one")
    return text


def _rows(results: Sequence[Result]) -> Iterable[tuple[str, ...]]:
    def group(one: Result) -> tuple[Programs, bool, str]:
        return one.programs, one.is_default, one.file.rpartition("/")[0]

    for (programs, is_default, folder), grouped in groupby(sorted(results, key=group), key=group):
        found = list(grouped)
        tests = f"`{folder}`, {len(found)} files" if len(found) > 1 else f"`{found[0].file}`"
        sums = str(sum(one.passed for one in found)), str(sum(one.failed for one in found))
        yield *_cells(programs), tests, *sums, max(one.day for one in found), "by CI" if is_default else "by hand"


def _without(results: Sequence[Result]) -> Iterable[tuple[str, ...]]:
    for built in BUILT:
        if not any(set(filter(None, built)) <= set(one.programs) for one in results):
            yield *_cells(built), "no recorded results", "-", "-", "-", "-"


def _cells(programs: Programs) -> list[str]:
    return [version or "-" for version in programs]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    DOCUMENT.write_text(generated(DOCUMENT.read_text(encoding="utf-8"), load()), encoding="utf-8")
