"""The fence on the models volume: one file per run names the start that may work there.

The database fences rows. A start that counts as ended and does not reach the database learns from this file that a later one
has begun. The file names the attempt and a random id of the start. Publishing happens under the lock of the file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gregory.ml.files import wait_for_lock
from gregory.runs.spec import RunSpec, new_token

SUPERSEDED = "superseded: a later attempt of the run works in the models folder"
# The lock is held for milliseconds. A holder that was stopped, or that lost its node, must not stop the next attempt.
LOCK_SECONDS = 30.0
_MAXIMUM_BYTES = 200


class Superseded(Exception):
    """A later start of the run has the fence, or the run's folder is gone. This start must publish nothing."""


class Fence:
    """The fence of one run, for one start of `python -m job`."""

    def __init__(self, models_dir: Path, spec: RunSpec) -> None:
        self._folder = spec.folder(models_dir)
        self._file = self._folder.fence_file
        self._attempt = spec.attempt
        self._mine = f"{spec.attempt} {new_token()}\n"
        self._taken = False

    def take(self, is_current: Callable[[], bool]) -> bool:
        """Become the only start that may publish. False if another one is. Raises OSError.

        is_current: called if the file names this attempt or a later one. Its answer is that of the database, which may have lost the
        later attempt.
        """
        self._folder.make()
        replaceable = self._mine
        while True:
            with self._locked(os.O_RDWR | os.O_CREAT) as descriptor:
                written = _read(descriptor)
                if written == replaceable or _attempt_of(written) < self._attempt:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, self._mine.encode(), 0)
                    os.fsync(descriptor)
                    self._taken = True
                    return True
            # The database may take minutes to answer, so this is outside of the lock.
            if not is_current():
                return False
            replaceable = written

    def is_held(self) -> bool:
        """Whether this start still has the fence. Raises OSError if the volume does not tell."""
        try:
            with self._opened(os.O_RDONLY) as descriptor:
                return _read(descriptor) == self._mine
        except FileNotFoundError:
            return False

    def is_lost(self) -> bool:
        """Whether another start has taken the fence from this one. False if the volume does not tell."""
        with suppress(OSError):
            return self._taken and not self.is_held()
        return False

    def require(self) -> None:
        """Raise Superseded if another start has the fence."""
        if not self.is_held():
            raise Superseded(SUPERSEDED)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the fence during this block: no other start takes it. Raises Superseded if another one has it."""
        try:
            with self._locked(os.O_RDWR) as descriptor:
                if _read(descriptor) != self._mine:
                    raise Superseded(SUPERSEDED)
                yield
        except FileNotFoundError as error:
            if self._file.exists():
                raise
            raise Superseded(SUPERSEDED) from error

    def remove(self) -> None:
        """Remove the file of a run that succeeded. A start that looks for it afterwards counts as superseded."""
        with suppress(OSError):
            self._file.unlink()

    @contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        """The open file with its lock. Without the lock if the volume has no locks, or if its holder keeps it too long."""
        with self._opened(flags) as descriptor:
            # On a volume without locks only the comparison protects.
            wait_for_lock(descriptor, seconds=LOCK_SECONDS)
            yield descriptor

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        # A foreign process may have put a link or a pipe there.
        descriptor = os.open(self._file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _read(descriptor: int) -> str:
    return os.pread(descriptor, _MAXIMUM_BYTES, 0).decode("utf-8", "replace")


def _attempt_of(written: str) -> int:
    """The attempt in the file. 0 if a process ended while it wrote the file."""
    number = written.partition(" ")[0]
    return int(number) if number.isascii() and number.isdigit() else 0
