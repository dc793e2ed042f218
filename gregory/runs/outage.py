"""The last time at which this process knows that the database was away. Runs were silent then because they could not write. No Django."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

# A read takes milliseconds. One that takes this long waited for the network or for the server.
SLOW_SECONDS = 5.0


class Outages:
    """The outages of the database that one process has noticed."""

    def __init__(self) -> None:
        self._last = -math.inf

    def notice(self) -> None:
        """Record that the database was away until now, or that this process does not know whether it was."""
        self._last = time.monotonic()

    def seconds_since(self) -> float:
        """The seconds since the last outage. Infinite if there was none."""
        return time.monotonic() - self._last

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notice an outage if the block fails or is slow."""
        began = time.monotonic()
        try:
            yield
        except Exception:
            self.notice()
            raise
        if time.monotonic() - began > SLOW_SECONDS:
            self.notice()


OUTAGES = Outages()
