"""The models volume of a process that must not wait for it: each read has a time limit, and an error is no absence.

A file server that hangs stops every thread that reads from it, and no signal ends such a thread. So each read has a thread of its own.
A read that hangs is abandoned, and no other read begins until it returns. An abandoned thread does not delay the exit of the process.
"""

import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

# A file server answers within milliseconds, and after a restart within seconds.
SILENCE_SECONDS = 10.0
_POLL_SECONDS = 0.2


class VolumeUnavailable(OSError):
    """The models volume gives an error or no answer. Nothing is known about its content."""


class Read(Protocol):
    """A way to read the models volume."""

    def __call__(self, call: Callable[[], T]) -> T:
        """The value of the call, which reads files and uses no database."""


def directly(call: Callable[[], T]) -> T:
    """Read without a limit: a process that works on the volume needs its answer."""
    return call()


class Volume:
    """The models volume below `root`. One thread may use it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._hung: threading.Thread | None = None

    def read(self, call: Callable[[], T]) -> T:
        """The value of a call that uses files of the volume and no database.

        Raises FileNotFoundError or NotADirectoryError if a path certainly does not exist. Raises VolumeUnavailable for any other OSError,
        and if the call makes no progress for SILENCE_SECONDS.
        """
        if self._hung is not None and self._hung.is_alive():
            raise self._silent()
        reader = _Reader(call)
        reader.start()
        used, since = 0.0, time.monotonic()
        while not reader.finished.wait(_POLL_SECONDS):
            # The check of a large model takes minutes. A thread that gets data uses the processor, and one that hangs does not.
            if (now_used := reader.cpu_seconds()) != used:
                used, since = now_used, time.monotonic()
            elif time.monotonic() - since > SILENCE_SECONDS:
                self._hung = reader
                raise self._silent()
        return reader.value()

    def is_folder(self, path: Path) -> bool:
        """Whether there is such a folder. Raises VolumeUnavailable."""
        try:
            return self.read(lambda: stat.S_ISDIR(path.stat().st_mode))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _silent(self) -> VolumeUnavailable:
        return VolumeUnavailable(f"the models volume {self._root} does not answer")


class _Reader(threading.Thread, Generic[T]):
    """One read. finished: set at its end."""

    def __init__(self, call: Callable[[], T]) -> None:
        # The interpreter does not wait for a daemon thread at its exit.
        super().__init__(name="models volume", daemon=True)
        self.finished = threading.Event()
        self._call = call
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._clock: int | None = None

    def run(self) -> None:
        try:
            if sys.platform == "linux":
                self._clock = time.pthread_getcpuclockid(threading.get_ident())
            self._values.append(self._call())
        except BaseException as error:  # noqa: BLE001 - `value` raises it in the thread of the caller
            self._error = error
        finally:
            self.finished.set()

    def cpu_seconds(self) -> float:
        """The processor time that the read has used. 0 where the system does not count it."""
        try:
            return 0.0 if self._clock is None else time.clock_gettime(self._clock)
        except OSError:
            # The thread has just ended.
            return -1.0

    def value(self) -> T:
        """The value of a finished read. Raises its error."""
        if isinstance(self._error, OSError) and not isinstance(self._error, FileNotFoundError | NotADirectoryError):
            raise VolumeUnavailable(f"the models volume cannot be used: {self._error}") from self._error
        if self._error is not None:
            raise self._error
        return self._values[0]
