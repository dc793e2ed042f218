"""Python's garbage collector: it takes a quarter of large imports, and seconds at the end of a process that has loaded TensorFlow."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Import without the collector. Libraries create thousands of modules without garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def skip_at_exit() -> None:
    """Let the collector visit no object at the end of this process. Exit functions run, and the kernel frees the memory."""
    atexit.register(gc.freeze)
