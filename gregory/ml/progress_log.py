"""The progress log: completed parts of a stage, appended one by one. A later attempt reads them and continues after them.

It has one JSON value per line. The first line has the digest of the work. A log of other work is replaced. If the end of a process
cut a line, this line and all later lines are dropped.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class ProgressLog:
    """An open progress log. entries: its parts, oldest first. Without a path nothing is stored."""

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
        """Store one more part. It survives the end of the process. A power cut can lose the part and nothing else."""
        self.entries.append(entry)
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")


def work_digest(*parts: str, texts: Iterable[str] = ()) -> str:
    """sha256 of all values that define the work."""
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
