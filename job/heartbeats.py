"""Heartbeats and progress of a stage, written by a thread with its own database connection.

So a database that does not answer delays neither the supervision of a stage nor its end.
"""

import sys
import threading
import time
from collections.abc import Callable

from gregory.output import Output

# The end of a stage waits this long for a write that has begun.
CLOSE_SECONDS = 2.0
# Between two heartbeats there is one pause and one wait for the database. A longer time means that the whole run was stopped, for example
# with its machine.
STOPPED_SECONDS = 120.0


class IdleTime:
    """The seconds since the last new message of a stage, without the times in which the whole run was stopped. For several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = self._called = clock()

    def restart(self) -> None:
        """Count from now on."""
        with self._lock:
            self._since = self._called = self._clock()

    def seconds(self) -> float:
        """The idle time. If the last call was more than STOPPED_SECONDS ago, the time since then does not count."""
        with self._lock:
            now = self._clock()
            if now - self._called > STOPPED_SECONDS:
                self._since += now - self._called
            self._called = now
            return now - self._since


class RepeatedCall:
    """A thread that calls `call` at once and then every `seconds`, until `close`. Calls of two threads never overlap."""

    def __init__(self, call: Callable[[], object], *, seconds: float, after: "RepeatedCall | None") -> None:
        """after: the last such thread. It may still wait in a call."""
        self._call, self._seconds, self._after = call, seconds, after
        self._closed = threading.Event()
        self._last_error = ""
        self._thread = threading.Thread(target=self._repeat, name="heartbeats", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Make no further call. A call that waits for longer than CLOSE_SECONDS is left to itself."""
        self._closed.set()
        self._thread.join(CLOSE_SECONDS)

    def _repeat(self) -> None:
        if self._after is not None:
            self._after._thread.join()
            self._after = None
        while not self._closed.is_set():
            try:
                self._call()
            except Exception as error:  # noqa: BLE001 - a lost heartbeat must not end a training
                self._show(f"{type(error).__name__}: {error}")
            self._closed.wait(self._seconds)

    def _show(self, error: str) -> None:
        if error != self._last_error:
            Output(sys.stderr).write(f"heartbeat: {error}\n")
        self._last_error = error
