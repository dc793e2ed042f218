"""A file system whose server never answers: a FUSE mount made by this process, which then reads no request."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MNT_DETACH = 2


class BrokenMount:
    """The server of the mount. Until `end_server`, each access waits. Afterwards each gives ENOTCONN, until `unmount`."""

    def __init__(self, folder: Path) -> None:
        """Mount it on the folder. Needs root and /dev/fuse."""
        self._folder = os.fsencode(folder)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._descriptor},rootmode=40000,user_id=0,group_id=0".encode()
        if self._libc.mount(b"broken", self._folder, b"fuse", 0, options) != 0:
            os.close(self._descriptor)
            raise OSError(ctypes.get_errno(), f"cannot mount on {folder}")

    def end_server(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def unmount(self) -> None:
        # First, so that no reader waits on.
        self.end_server()
        self._libc.umount2(self._folder, MNT_DETACH)


@contextmanager
def broken_mount(folder: Path) -> Iterator[BrokenMount]:
    server = BrokenMount(folder)
    try:
        yield server
    finally:
        server.unmount()
