"""Read a log that arrives in chunks over connections that break, and yield each line once."""

import re
from calendar import timegm
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime

from gregory.launch.errors import ClusterError
from gregory.line_reader import read_in_thread

POLL_SECONDS = 0.2
# A line may have a megabyte, so few lines are read ahead.
_AHEAD = 256
_STAMPED = re.compile(r"^(\S+?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) (.*)$", re.DOTALL)


def split(chunks: Iterator[bytes]) -> Iterator[str]:
    """Complete lines without their line feed. A chunk may end inside a line. An unfinished last line is dropped."""
    pending: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        for piece in rest:
            yield b"".join(pending).decode("utf-8", "replace")
            pending = [piece]


class Cursor:
    """The position in a log with time stamps.

    A server continues a log at a whole second, so it sends some lines twice. The cursor recognizes them.
    """

    def __init__(self) -> None:
        self._read = (-1, 0)
        self._stamp, self._number = -1, 0

    def begin(self) -> str:
        """Start a new stream. Returns the second to request from the server in UTC; empty means the whole log."""
        self._stamp, self._number = -1, 0
        second = self._read[0] // 10**9
        return "" if second < 0 else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def take(self, line: str) -> str | None:
        """The text of a new line. None for a line that was read before, and for a server message without a time stamp."""
        stamped = _STAMPED.match(line)
        if stamped is None:
            return None
        stamp = _nanoseconds(stamped[1] + stamped[3], stamped[2] or "")
        # Lines with equal time stamps differ by their number.
        self._number = self._number + 1 if stamp == self._stamp else 1
        self._stamp = stamp
        if (stamp, self._number) <= self._read:
            return None
        self._read = (stamp, self._number)
        return stamped[4]


def follow(stream: Iterator[bytes], cursor: Cursor, *, waiting: Callable[[], object]) -> Iterator[str]:
    """New lines until the stream ends or its connection breaks. Calls `waiting` while no line arrives."""
    # A broken stream is no evidence about the run. The caller observes the run itself.
    reader = read_in_thread(split(stream), poll_seconds=POLL_SECONDS, on_idle=waiting, ahead=_AHEAD)
    with suppress(ClusterError), closing(reader) as lines:
        for line in lines:
            if (text := cursor.take(line)) is not None:
                yield text


def _nanoseconds(second: str, fraction: str) -> int:
    """Nanoseconds since the epoch. Python's own times end at microseconds."""
    return timegm(datetime.fromisoformat(second).utctimetuple()) * 10**9 + int(fraction.ljust(9, "0") or 0)
