"""Die with the parent: a process that holds the reading end of its parent's pipe learns at once, on any system, that the
parent is gone, however it died."""

import os
import threading
from collections.abc import Callable


def watch(descriptor: int, on_close: Callable[[], None]) -> threading.Thread:
    """Call `on_close` once the pipe behind `descriptor` is closed at its other end; returns the daemon thread that waits for it."""

    def wait() -> None:
        # The descriptor, not sys.stdin: a daemon thread inside a buffered reader aborts the interpreter's shutdown.
        while os.read(descriptor, 1):
            pass
        on_close()

    thread = threading.Thread(target=wait, name="lifeline", daemon=True)
    thread.start()
    return thread
