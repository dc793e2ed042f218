"""Absence on a network file system, whose client remembers for up to a minute that a name was missing.

Another machine may have made the file meanwhile. The Linux client of NFS asks its server again as soon as the folder of the name is
opened. `python -m tests.live.nfs` shows both.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# O_NONBLOCK: a pipe may have the name of the folder.
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC


def retry_missing(path: Path, read: Callable[[], T]) -> T:
    """The value of `read`, which reads this path. If it does not find the path, it is called again after the server was asked."""
    try:
        return read()
    except (FileNotFoundError, NotADirectoryError):
        _ask_server(path)
        return read()


def is_folder(path: Path, *, follow_symlinks: bool = False) -> bool:
    """Whether there is such a folder. Raises OSError if the file system does not tell."""
    try:
        return stat.S_ISDIR(retry_missing(path, lambda: path.stat(follow_symlinks=follow_symlinks)).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _ask_server(path: Path) -> None:
    """Open the nearest parent that exists. Its client then forgets that names in it were missing."""
    for folder in path.parents:
        try:
            os.close(os.open(folder, _FOLDER))
        except (FileNotFoundError, NotADirectoryError):
            # This name may be one of those that were missing.
            continue
        except OSError:
            # `read` gets the error of the file system, or does not need this folder.
            return
        return
