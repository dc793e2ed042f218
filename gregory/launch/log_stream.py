"""Lines of a log that arrives in pieces and with breaks: each line once, whatever the stream does. Pure, but for the thread that reads."""

import queue
import re
import threading
from calendar import timegm
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from gregory.launch.errors import ClusterError

POLL_SECONDS = 0.2
# A line may be a megabyte.
_AHEAD = 256
_STAMPED = re.compile(r"^(\S+?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) (.*)$", re.DOTALL)


def split(chunks: Iterator[bytes]) -> Iterator[str]:
    """Complete lines: a chunk ends anywhere."""
    pending: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        for piece in rest:
            yield b"".join(pending).decode("utf-8", "replace")
            pending = [piece]


class Cursor:
    """How far a log with time stamps has been read. A server begins again at a whole second: what was read before is left out."""

    def __init__(self) -> None:
        self._read = (-1, 0)
        self._moment, self._number = -1, 0

    def begin(self) -> str:
        """A stream begins: from when on it is to be asked for; empty for all there is."""
        self._moment, self._number = -1, 0
        second = self._read[0] // 10**9
        return "" if second < 0 else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def take(self, line: str) -> str | None:
        """The text of a line that was not read before. What has no time is the server's own remark and no line."""
        stamped = _STAMPED.match(line)
        if stamped is None:
            return None
        stamp = _nanoseconds(stamped[1] + stamped[3], stamped[2] or "")
        # Lines of one moment are told apart by their number.
        self._number = self._number + 1 if stamp == self._moment else 1
        self._moment = stamp
        if (stamp, self._number) <= self._read:
            return None
        self._read = (stamp, self._number)
        return stamped[4]


def follow(stream: Iterator[bytes], cursor: Cursor, *, waiting: Callable[[], object]) -> Iterator[str]:
    """Lines that were not read before, until the stream ends or breaks. `waiting` is called while there is nothing.

    Read by a thread, since a stream blocks until there is something.
    """
    lines: queue.Queue[str | None] = queue.Queue(maxsize=_AHEAD)
    left = threading.Event()

    def put(line: str | None) -> None:
        while not left.is_set():
            with suppress(queue.Full):
                lines.put(line, timeout=POLL_SECONDS)
                return

    def read() -> None:
        try:
            for line in split(stream):
                put(line)
                if left.is_set():
                    return
        except ClusterError:
            # The stream says nothing of the run; whoever follows asks for that.
            return
        finally:
            put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while True:
            try:
                line = lines.get(timeout=POLL_SECONDS)
            except queue.Empty:
                waiting()
                continue
            if line is None:
                return
            if (text := cursor.take(line)) is not None:
                yield text
    finally:
        left.set()


def _nanoseconds(second: str, fraction: str) -> int:
    """Since the epoch. Python's own times end at microseconds."""
    whole = timegm(datetime.fromisoformat(second.replace("Z", "+00:00")).utctimetuple())
    return whole * 10**9 + int(fraction.ljust(9, "0") or 0)
