"""Files that the process of a run can put in the place of a report or a manifest, to the harm of a reader."""

import os
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 4 * 2**30)


def _link(path: Path) -> None:
    path.symlink_to("/dev/zero")


DAMAGES: dict[str, Damage] = {
    "not UTF-8": lambda path: path.write_bytes(b'{"run_id": "\xff\xfe"}') and None,
    "a sparse file of 4 GiB": _sparse,
    "a pipe": lambda path: os.mkfifo(path),
    "a link to a device": _link,
    "a folder": lambda path: path.mkdir(),
    "nested JSON": lambda path: path.write_text("[" * 200_000) and None,
    "another value": lambda path: path.write_text("7") and None,
}


def replace(path: Path, damage: str) -> None:
    """Put the damaged object in the place of the file, which may be missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    DAMAGES[damage](path)
