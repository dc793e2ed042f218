"""One process of the cluster that a test can start, pause, resume and kill."""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tools.installation import REPOSITORY

# No variable of the developer's shell reaches a daemon. containerd finds runc through this path.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


@dataclass(eq=False, kw_only=True)
class Daemon:
    """One daemon. ready: whether it serves. Without `ready`, `wait` returns at once."""

    name: str
    argv: list[str]
    log: Path
    ready: Callable[[], bool] | None = None
    started: float = field(default=0.0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self.started = time.time()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT, cwd=REPOSITORY, start_new_session=True
            )

    def wait(self, seconds: float = 300) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + seconds
        while self.ready is not None and not self.ready():
            if not self.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not serve: {self.log.read_text()[-3000:]}")
            time.sleep(0.1)

    def pause(self) -> None:
        """Stop the process with SIGSTOP, as if its machine no longer answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL, paused or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(120)
