"""How long a process waits for its database. No import of Django or psycopg."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Limits that the server keeps in each transaction that writes. Such a transaction takes milliseconds. A longer wait for a lock means
# that its holder is idle or has ended. Its next try comes seconds later, and the rows of other runs are written meanwhile.
LOCK_SECONDS = 10
STATEMENT_SECONDS = 30
# A client that is gone without a message holds its row locks at most this long.
IDLE_SECONDS = 30
# The limit of the client for a server that sends nothing, although its host still acknowledges packets. The server's own errors come first.
ANSWER_SECONDS = 40.0
# The same limit after the end of the process was requested. Three such waits fit into the shortest grace period, 30 s.
ENDING_SECONDS = 3.0
POLL_SECONDS = 0.5

_answer: ContextVar[float] = ContextVar("answer_seconds", default=ANSWER_SECONDS)


def _never() -> bool:
    return False


_ending: Callable[[], bool] = _never


@contextmanager
def answer_within(seconds: float) -> Iterator[None]:
    """Another limit for this block of this thread. math.inf: none, and none on the server."""
    token = _answer.set(seconds)
    try:
        yield
    finally:
        _answer.reset(token)


def answer_seconds() -> float:
    """The limit of a silent server in this thread."""
    return _answer.get()


@contextmanager
def shortened_by(requested: Callable[[], bool]) -> Iterator[None]:
    """Within this block, waits of all threads become short when `requested` returns True."""
    global _ending
    before, _ending = _ending, requested
    try:
        yield
    finally:
        _ending = before


def ending() -> bool:
    """Whether the end of this process was requested."""
    return _ending()


def pause(seconds: float) -> None:
    """Sleep for these seconds, or until the end of this process is requested."""
    until = time.monotonic() + seconds
    while not ending() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, POLL_SECONDS))


class Patience:
    """The time that is left for one answer."""

    def __init__(self, seconds: float = math.inf) -> None:
        """seconds: limit of the silence."""
        self._seconds = seconds
        self._heard = time.monotonic()
        self._ending_since: float | None = None

    def hear(self) -> None:
        """The server has sent or taken something."""
        self._heard = time.monotonic()

    @property
    def exhausted(self) -> str:
        """Why the wait ends; empty if it goes on."""
        now = time.monotonic()
        if ending():
            # From here on everything counts: a large answer must not delay the end.
            self._ending_since = self._ending_since or now
            if now - self._ending_since >= ENDING_SECONDS:
                return f"no answer within {ENDING_SECONDS:.0f} s after the end of this process was requested"
        return f"no answer for {self._seconds:.0f} s" if now - self._heard >= self._seconds else ""
