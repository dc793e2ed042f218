"""The file of accepted pseudo-labels in the folder of its subject."""

from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

from gregory.ml.errors import DamagedFile
from gregory.ml.files import checksum, let_all_read, link_or_copy

FOLDER = "pseudo_labels"


def keep_pseudo_labels(csv_file: Path, models_dir: Path, *, team: str, subject: str) -> Path:
    """Put a pseudo-label file once at its place in the specification, <YYYYMMDD_HHMMSS>[_n].csv. Returns its path. Raises OSError.

    The name has the time of the file, so a repeated call finds the file of the first one, whether it is a link or a copy.
    """
    let_all_read(csv_file)
    folder = models_dir / team / subject / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromtimestamp(csv_file.stat().st_mtime, UTC).strftime("%Y%m%d_%H%M%S")
    names = chain([stamp], (f"{stamp}_{suffix}" for suffix in count(2)))
    while True:
        target = folder / f"{next(names)}.csv"
        if _has_content_of(csv_file, target):
            return target
        with suppress(FileExistsError):
            link_or_copy(csv_file, target)
            return target


def _has_content_of(csv_file: Path, target: Path) -> bool:
    try:
        return checksum(target) == checksum(csv_file)
    except (FileNotFoundError, DamagedFile):
        return False
