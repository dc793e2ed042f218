"""The request that a long process ends in order: it finishes its present step and starts no other."""

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable
from types import FrameType

POLL_SECONDS = 0.5

Handler = Callable[[int, FrameType | None], object] | int


class ShutdownRequest:
    """Records that this process shall end. For several threads and signal handlers."""

    def __init__(self) -> None:
        # A signal handler must not wait for a lock. An append is one step.
        self._reasons: list[str] = []

    @property
    def requested(self) -> bool:
        """Whether the process shall end."""
        return bool(self._reasons)

    @property
    def reason(self) -> str:
        """The reason of the first request; empty if there is none."""
        return self._reasons[0] if self._reasons else ""

    def request(self, reason: str) -> None:
        """Request the end. A later reason does not replace the first."""
        if not self._reasons:
            self._reasons.append(reason)

    def wait(self, seconds: float) -> None:
        """Sleep for these seconds. Return at most POLL_SECONDS after a request."""
        until = time.monotonic() + seconds
        while not self.requested and (left := until - time.monotonic()) > 0:
            # A signal handler runs in this thread, between two sleeps.
            time.sleep(min(left, POLL_SECONDS))

    def listen(self, signals: Iterable[int], *, always: Collection[int] = ()) -> None:
        """Take each of these signals as a request, unless it must keep its handler. always: signals that are taken even if ignored."""
        for number in {*replaceable_handlers(signals), *always}:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.request(describe_signal(number))


def replaceable_handlers(signals: Iterable[int]) -> dict[int, Handler]:
    """The present handlers of these signals, without those that must stay.

    A signal that the process ignores stays ignored: `nohup` does this with SIGHUP, and a shell with SIGINT for its background jobs. A
    handler of another language cannot be restored. In another thread than the main one, Python can replace no handler. Then the process
    that has the thread decides about signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: signal.getsignal(number) for number in signals}
    return {number: handler for number, handler in handlers.items() if handler is not None and handler != signal.SIG_IGN}


def describe_signal(number: int) -> str:
    """The reason for an end by this signal, with its number and name."""
    return f"interrupted by signal {number} ({signal.Signals(number).name})"
