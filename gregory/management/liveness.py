"""The liveness file of `reconcile_runs`: the loop touches it, and a probe reads its age.

`python -m gregory.management.liveness FILE SECONDS` exits with 1 if the file is older than SECONDS, or missing.
"""

import sys
import time
from pathlib import Path

from gregory.output import Output


class LivenessFile:
    """A file whose modification time is the last progress of a loop. Without a path, nothing is written."""

    def __init__(self, path: Path | None) -> None:
        """Make the file. Raises OSError, because a loop that cannot write it would be restarted for ever."""
        self._path = path
        if path is not None:
            path.touch()

    def beat(self) -> None:
        """Record progress. A disk that is full for a moment must not end the loop. The probe reports it if it lasts."""
        if self._path is not None:
            try:
                self._path.touch()
            except OSError as error:
                Output(sys.stderr).write(f"cannot write the liveness file: {error}\n")


def is_alive(path: Path, seconds: float) -> bool:
    """Whether the loop made progress within this time."""
    try:
        return time.time() - path.stat().st_mtime <= seconds
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_alive(Path(sys.argv[1]), float(sys.argv[2])) else 1)
