"""Text streams that cannot be written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gregory.output import Output


@contextmanager
def broken_output(kind: str) -> Iterator[IO[str]]:
    """A stream to a full device, or to a pipe without a reader. Every line is written at once."""
    if kind == "full device":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    with os.fdopen(descriptor, "w", buffering=1) as stream:
        yield stream
        # Its buffer cannot be written at the end either.
        Output(stream).finish()


@contextmanager
def closed_output(folder: Path) -> Iterator[IO[str]]:
    """A stream that the program has closed."""
    with (folder / "closed").open("w") as stream:
        stream.close()
        yield stream
