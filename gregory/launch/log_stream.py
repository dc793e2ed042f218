"""Read a log that arrives in chunks over connections that break, and yield each line once."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

from gregory.launch.errors import ClusterError
from gregory.line_reader import read_in_thread

POLL_SECONDS = 0.2
# A line may have a megabyte, so few lines are read ahead.
_AHEAD = 256
# A kubelet keeps 10 MiB of a log, and a line has at least 40 bytes.
_MOST_LINES = 262_144
_STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S* (.*)", re.DOTALL)


def split(chunks: Iterator[bytes]) -> Iterator[str]:
    """Lines with their line feed. A chunk may end inside a line. Only an unfinished last line has no line feed."""
    pending: list[bytes] = []
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        for piece in rest:
            yield b"".join(pending).decode("utf-8", "replace") + "\n"
            pending = [piece]
    if unfinished := b"".join(pending):
        yield unfinished.decode("utf-8", "replace")


class Cursor:
    """The position in a log with time stamps. Each stream begins with the first line of the log.

    The time stamps of a log fall if its machine sets back its clock. So the cursor does not compare them. It knows the lines of the
    earlier streams by their whole content.
    """

    def __init__(self) -> None:
        self._read: deque[int] = deque(maxlen=_MOST_LINES)
        self._repeated: Counter[int] = Counter()
        self._unfinished = ""

    def begin(self) -> None:
        """Expect the lines of a new stream."""
        self._repeated, self._unfinished = Counter(self._read), ""

    def take(self, line: str) -> str | None:
        """The text of a new line. None for a line that was read before, and for a server message without a time stamp."""
        stamped = _STAMPED.fullmatch(line)
        if stamped is None:
            return None
        # Equal lines with equal time stamps are counted.
        key = hash(line)
        if self._repeated[key]:
            self._repeated[key] -= 1
            return None
        self._read.append(key)
        return stamped[1]

    def keep(self, unfinished: str) -> None:
        """Keep the end of a stream that stopped inside a line. The next stream may have the whole line."""
        self._unfinished = unfinished

    def rest(self) -> Iterator[str]:
        """The text of the unfinished last line, for a caller that observed the end of the log."""
        if (text := self.take(self._unfinished)) is not None:
            yield text


def follow(stream: Iterator[bytes], cursor: Cursor, *, waiting: Callable[[], object]) -> Iterator[str]:
    """New lines until the stream ends or its connection breaks. Calls `waiting` while no line arrives."""
    cursor.begin()
    # A broken stream is no evidence about the run. The caller observes the run itself.
    reader = read_in_thread(split(stream), poll_seconds=POLL_SECONDS, on_idle=waiting, ahead=_AHEAD)
    with suppress(ClusterError), closing(reader) as lines:
        for line in lines:
            if not line.endswith("\n"):
                cursor.keep(line)
            elif (text := cursor.take(line[:-1])) is not None:
                yield text
