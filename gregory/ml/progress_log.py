"""Finished pieces of a stage's work, appended one by one, so that a stage that is started again does not do them again.

One JSON value per line. The first line says what work the others belong to; a journal of other work is begun anew, and
a line that was cut short by the end of a process is dropped with all behind it.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class ProgressLog:
    """An open journal. entries: what was found in it, oldest first. Without a path it keeps nothing."""

    def __init__(self, path: Path | None, *, work: str) -> None:
        self.entries: list[Any] = []
        self._path = path
        if path is None:
            return
        lines = _complete_lines(path)
        if lines[:1] == [{"work": work}]:
            self.entries = lines[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        repaired = path.with_suffix(".partial")
        repaired.write_text("".join(json.dumps(line) + "\n" for line in [{"work": work}, *self.entries]), encoding="utf-8")
        repaired.replace(path)

    def append(self, entry: Any) -> None:
        """Keep one more piece. It outlives the process, not a power cut, which costs no more than the piece."""
        self.entries.append(entry)
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def work_digest(*parts: str, texts: Iterable[str] = ()) -> str:
    """sha256 over everything that decides what the work is."""
    digest = hashlib.sha256(json.dumps(parts).encode())
    for text in texts:
        digest.update(json.dumps(text).encode())
    return digest.hexdigest()


def _complete_lines(path: Path) -> list[Any]:
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines: list[Any] = []
    for line in content.split("\n")[:-1]:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
