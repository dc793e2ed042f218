"""The one story of an early end: whatever asks for it is remembered, and the supervisor looks at it between steps."""

import signal
import sys
import threading
import time
from types import FrameType

from gregory.ml import parent_watch

LOOK_SECONDS = 0.5
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ShutdownRequest:
    """Why the run shall end; `reason` is empty as long as it shall not."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self.reason = ""

    @property
    def requested(self) -> bool:
        """Whether the run shall end."""
        return self._requested.is_set()

    def request(self, reason: str) -> None:
        """Ask for the end; the first reason stays."""
        if not self.requested:
            self.reason = reason
            self._requested.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not into an end that was asked for: there is little time then."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))

    def listen(self, *, watch_parent: bool) -> None:
        """Obey signals and, where the starter holds the other end of standard input, its death."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)
        if watch_parent:
            parent_watch.watch(sys.stdin.fileno(), lambda: self.request("interrupted: the command that started the run is gone"))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request(f"interrupted by signal {number} ({signal.Signals(number).name})")
