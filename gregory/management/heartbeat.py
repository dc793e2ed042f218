"""How often a command says that what it looks after is alive, and asks what may take time to answer."""

import time
from collections.abc import Callable

HEARTBEAT_SECONDS = 15.0


def every(seconds: float, ask: Callable[[], bool]) -> Callable[[], bool]:
    """The answer, asked for anew at most this often."""
    last, answer = time.monotonic(), True

    def latest() -> bool:
        nonlocal last, answer
        if time.monotonic() - last >= seconds:
            last, answer = time.monotonic(), ask()
        return answer

    return latest
