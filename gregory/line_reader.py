"""Read a source that blocks, and let the caller act while nothing arrives."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


def read_in_thread(
    source: Iterable[_Item], *, poll_seconds: float, on_idle: Callable[[], object], ahead: int
) -> Generator[_Item, None, None]:
    """Yield the items of `source`, which a thread reads. Call `on_idle` after every `poll_seconds` without an item.

    `ahead` limits the items that the thread reads ahead of the caller. An error of `source` is raised here.
    If the caller closes the iterator, the thread ends with the next item.
    """
    items: queue.Queue[tuple[_Item] | _End] = queue.Queue(maxsize=ahead)
    closed = threading.Event()

    def put(item: tuple[_Item] | _End) -> None:
        while not closed.is_set():
            with suppress(queue.Full):
                items.put(item, timeout=poll_seconds)
                return

    def read() -> None:
        error = None
        try:
            for item in source:
                put((item,))
                if closed.is_set():
                    return
        except Exception as raised:  # noqa: BLE001 - the caller raises it again
            error = raised
        finally:
            put(_End(error))

    threading.Thread(target=read, name="line reader", daemon=True).start()
    try:
        while True:
            try:
                item = items.get(timeout=poll_seconds)
            except queue.Empty:
                on_idle()
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item[0]
    finally:
        closed.set()
