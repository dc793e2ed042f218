"""The models folder as a place: whether it exists, and the folders below it.

It is never made. A missing folder may be the place of a volume that is not mounted, and its models would then be on another disk.
"""

import errno
import os
from pathlib import Path


def missing(models_dir: Path) -> str:
    """The cause why there is no models folder, with the remedy. Empty if there is one."""
    if models_dir.is_dir():
        return ""
    return f"the models folder {models_dir} does not exist; mount its volume, or make it once: mkdir -p {models_dir}"


def nearest(models_dir: Path, folder: Path) -> Path:
    """The folder itself, or the first of its parents that exists. `folder` is below the models folder, which exists."""
    while folder != models_dir and not os.path.lexists(folder):
        folder = folder.parent
    return folder


def make_below(models_dir: Path, folder: Path) -> None:
    """Make a folder and its missing parents, but not the models folder. Raises OSError."""
    if not models_dir.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(models_dir))
    folder.mkdir(parents=True, exist_ok=True)
