"""Views of the models volume, one for each reconciler, which can fail as a file server fails.

A view is a bind mount of the models. A mount of FUSE without a server lies over it for a while: its connection is closed (every access
ends with ENOTCONN), or open and silent (no access ends).
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FUSE = Path("/dev/fuse")
_NOSUID, _NODEV = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`folder` shows the models."""

    folder: Path

    def create(self, models: Path) -> None:
        self.folder.mkdir(parents=True)
        subprocess.run(["mount", "--bind", models, self.folder], check=True)

    def remove(self) -> None:
        """Remove every mount. The models stay."""
        while subprocess.run(["umount", "--lazy", self.folder], capture_output=True).returncode == 0:
            pass

    @contextmanager
    def failing(self, *, silent: bool) -> Iterator[None]:
        """No access succeeds during the block. silent: no access ends."""
        descriptor = os.open(FUSE, os.O_RDWR)
        try:
            options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
            library = ctypes.CDLL(None, use_errno=True)
            if library.mount(b"gregory-chaos", str(self.folder).encode(), b"fuse", _NOSUID | _NODEV, options):
                raise OSError(ctypes.get_errno(), f"mount over {self.folder}")
            try:
                if not silent:
                    os.close(descriptor)
                    descriptor = -1
                yield
            finally:
                subprocess.run(["umount", "--lazy", self.folder], check=True)
        finally:
            # Ends every access that waits.
            if descriptor >= 0:
                os.close(descriptor)
