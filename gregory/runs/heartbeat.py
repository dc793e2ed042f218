"""The interval of heartbeats, and calls that are made at most once in an interval. No Django."""

import time
from collections.abc import Callable

HEARTBEAT_SECONDS = 15.0


def every(seconds: float, call: Callable[[], bool]) -> Callable[[], bool]:
    """A function that makes the call at most once in `seconds` and returns its latest result. It returns True before the first call."""
    last, result = time.monotonic(), True

    def latest() -> bool:
        nonlocal last, result
        if time.monotonic() - last >= seconds:
            last, result = time.monotonic(), call()
        return result

    return latest
