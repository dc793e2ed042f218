"""The process of a stage. One thread signals it and reaps it, in this module only. So no signal meets a process that was reaped."""

import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from job.forked_stage import fork

POLL_SECONDS = 0.5
# A process in an uninterruptible call of the kernel, for example to a file server that hangs, ends when the call returns.
KILL_SECONDS = 5.0
READ_BYTES = 65_536


class Worker:
    """A child process in a session of its own. Use as a context manager: the process is killed and reaped at the end of the block."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        errors: IO[bytes],
        algorithm: str = "",
        needed: Callable[[], bool] = lambda: True,
    ) -> None:
        """algorithm, needed: as in `fork`."""
        forked = fork(command, environment=environment, errors=errors, algorithm=algorithm, needed=needed)
        self._process = forked or subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, start_new_session=True
        )
        self._pid = self._process.pid
        self._peak = 0
        self._killed_at: float | None = None
        # The exit code and the ru_maxrss of the process.
        self._end: tuple[int, int] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self._wait(lambda: None)

    def lines(self, act: Callable[[], object]) -> Iterator[bytes]:
        """The lines of its standard output, until its end. Calls `act` after new lines and at least twice a second."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - opened as a pipe above
        pending = b""
        with stdout, selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while True:
                over = self._is_over()
                if selector.select(0 if over else POLL_SECONDS):
                    if not (read := os.read(stdout.fileno(), READ_BYTES)):
                        break
                    *lines, pending = (pending + read).split(b"\n")
                    yield from lines
                    # A progress message is short.
                    pending = pending[-READ_BYTES:]
                elif over:
                    # All its lines have been read. A process that it left behind holds the pipe.
                    break
                act()
        self._wait(act)

    def kill(self) -> None:
        """Kill it and its own children, once."""
        if self._end is None and self._killed_at is None:
            self._killed_at = time.monotonic()
            self._kill_group()

    def sample(self) -> None:
        """Measure its memory. The result at its end is sometimes that of its parent."""
        if self._end is not None or self._killed_at is not None:
            return
        with suppress(OSError):
            status = Path(f"/proc/{self._pid}/status").read_text(encoding="ascii", errors="replace")
            sizes = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
            self._peak = max(self._peak, *sizes, 0)

    @property
    def exit_code(self) -> int:
        """The exit code after its end, negative for a signal."""
        return self._end[0] if self._end else -signal.SIGKILL

    @property
    def peak_bytes(self) -> int:
        """Its peak resident memory, 0 if not measured.

        Linux starts the ru_maxrss of a child with the value of its parent. If the worker stayed below that, only the sample is usable.
        """
        at_end = self._end[1] if self._end else 0
        if sys.platform == "darwin":  # it counts bytes
            return at_end
        return at_end * 1024 if at_end > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss else self._peak

    def _wait(self, act: Callable[[], object]) -> None:
        pause = 0.01
        while not self._is_over():
            act()
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS)
        if self._process.stdin is not None:
            self._process.stdin.close()
        # Popen must not wait for the process too.
        self._process.returncode = self.exit_code

    def _is_over(self) -> bool:
        """Whether it has ended, or has survived its kill for KILL_SECONDS. The kernel ends such a process."""
        return self._has_ended() or (self._killed_at is not None and time.monotonic() - self._killed_at > KILL_SECONDS)

    def _has_ended(self) -> bool:
        """Reap the process if it has ended. The only call that waits for it."""
        if self._end is None:
            pid, status, used = os.wait4(self._pid, os.WNOHANG)
            if pid == self._pid:
                self._end = os.waitstatus_to_exitcode(status), used.ru_maxrss
                # Its children have lost their purpose. While one of them lives, no other process gets the number of the group.
                self._kill_group()
        return self._end is not None

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
