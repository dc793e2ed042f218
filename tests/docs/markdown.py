"""Reads the project's Markdown: fenced blocks, links, headings, tables and code spans."""

import re
from dataclasses import dataclass

from tools.installation import REPOSITORY

DOCUMENTS = [
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "helm/*/*.md", "k8s/*.md")
    for path in sorted(REPOSITORY.glob(pattern))
    if not path.is_symlink()
]

# Bytes of a picture. It is in the history of every clone.
LARGEST_PICTURE = 200_000

# Headings of the README. The blocks below them run in tests/docker and tests/chart.
DOCKER, KUBERNETES = "On Docker", "On Kubernetes"

_FENCE = re.compile(r"^```(\S*)[ ]?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. section: the heading above it. name: the file name in its fence, or empty."""

    document: str
    section: str
    line: int
    language: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def read(document: str) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    text = read(document)
    found = []
    for fence in _FENCE.finditer(text):
        above = [heading.group(1) for heading in _HEADING.finditer(_prose(text[: fence.start()]))]
        language, name, content = fence.groups()
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(document=document, section=above[-1] if above else "", line=line, language=language, name=name, text=content))
    return found


def links(document: str) -> list[str]:
    return [link.group(1) for link in _LINK.finditer(_prose(read(document)))]


def anchors(document: str) -> set[str]:
    """The fragments of links to its headings, as on GitHub."""
    headings = _HEADING.findall(_prose(read(document)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def code_spans(document: str) -> list[str]:
    return [span.group(1) for span in _CODE.finditer(_prose(read(document)))]


def table(document: str, first_header: str) -> list[list[str]]:
    """The cells of every table with this first header, without the headers."""
    tables = re.findall(rf"^\| {first_header} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", _prose(read(document)) + "\n", re.MULTILINE)
    assert tables, f"{document} has no table that begins with {first_header!r}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for rows in tables for line in rows.splitlines()]


def _prose(text: str) -> str:
    """The text with empty lines in place of fenced blocks, so that their content does not count as Markdown."""
    return _FENCE.sub(lambda fence: "\n" * fence.group(0).count("\n"), text)
