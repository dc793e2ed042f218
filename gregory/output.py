"""Text output of a program. It is never the work of the program, so its errors end nothing."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

# Control characters without tab and line feed, line separators, marks that change the direction of letters, and halves of characters.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Output:
    """A text stream. Text that cannot be written is dropped: the disk is full, the reader of the pipe has ended, the terminal is closed.

    A character that the encoding of the stream lacks, or that acts on a terminal, is written as its escape sequence.
    """

    def __init__(self, stream: "IO[str] | Output | None") -> None:
        """stream: None if the program was started without it."""
        # The outermost output knows the errors.
        self._stream: IO[str] | None = stream._stream if isinstance(stream, Output) else stream
        # The first error of the stream, and None before it.
        self.error: OSError | ValueError | None = None

    def __getattr__(self, name: str) -> Any:
        # `isatty`, `encoding` and `fileno` of the stream.
        return getattr(self._stream, name)

    def write(self, text: str) -> None:
        """Write the text as `visible`, or drop it."""
        self.draw(visible(text))

    def draw(self, text: str) -> None:
        """Write a text whose control characters are ours: colours and the progress bar."""
        self._try(lambda stream: _write(stream, text))

    def flush(self) -> None:
        """Write the buffered text. If that fails, the next call may succeed."""
        self._try(lambda stream: stream.flush())

    def finish(self) -> None:
        """Write the buffered text or drop it. Otherwise Python writes it at its exit, fails and changes the exit code."""
        if not self._try(lambda stream: stream.flush()):
            self._try(_drop_buffer)

    def _try(self, call: Callable[[IO[str]], object]) -> bool:
        if self._stream is None:
            return True
        try:
            call(self._stream)
        except (OSError, ValueError) as error:
            # A closed stream raises ValueError.
            self.error = self.error or error
            return False
        return True


def visible(text: str) -> str:
    """The text with escape sequences for the characters that act on a terminal or change the order of letters. Tabs and lines stay."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def one_line(text: str) -> str:
    """The visible text, with a blank for every run of blanks and line breaks."""
    return visible(" ".join(text.split()))


def counted(number: int, noun: str) -> str:
    """The number with its noun, such as "1 article" or "2 articles"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _write(stream: IO[str], text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        # The error has the name `charmap` for every encoding with a table of 256 characters.
        encoding: str = getattr(stream, "encoding", "ascii")
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _drop_buffer(stream: IO[str]) -> None:
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
    stream.flush()
