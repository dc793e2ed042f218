"""The request that a long process ends in order: it finishes its present step and starts no other."""

import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType

POLL_SECONDS = 0.5


class ShutdownRequest:
    """Records that this process shall end. `reason` is empty until then."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self.reason = ""

    @property
    def requested(self) -> bool:
        """Whether the process shall end."""
        return self._requested.is_set()

    def request(self, reason: str) -> None:
        """Request the end. A later reason does not replace the first."""
        if not self.requested:
            self.reason = reason
            self._requested.set()

    def wait(self, seconds: float) -> None:
        """Sleep for these seconds. Return at most POLL_SECONDS after a request."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            # A signal handler runs in this thread, between two sleeps.
            time.sleep(min(left, POLL_SECONDS))

    def listen(self, signals: Iterable[int]) -> None:
        """Take each of these signals as a request."""
        for number in signals:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request(describe_signal(number))


def describe_signal(number: int) -> str:
    """The reason for an end by this signal, with its number and name."""
    return f"interrupted by signal {number} ({signal.Signals(number).name})"
