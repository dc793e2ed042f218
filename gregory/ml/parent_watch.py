"""End a process when its parent ends.

The process has the reading end of a pipe from its parent. On every system the end of the parent closes the pipe at once.
"""

import os
import threading
from collections.abc import Callable


def watch(descriptor: int, on_close: Callable[[], None]) -> threading.Thread:
    """Call `on_close` when the other end of the pipe `descriptor` is closed. Returns the daemon thread that waits for this."""

    def wait() -> None:
        # Not sys.stdin: a daemon thread in a buffered reader aborts the shutdown of the interpreter.
        while os.read(descriptor, 1):
            pass
        on_close()

    thread = threading.Thread(target=wait, name="parent_watch", daemon=True)
    thread.start()
    return thread
