"""The question before an action that cannot be undone."""

import sys

from django.core.management.base import CommandError

from gregory.management.text_stream import TextStream
from gregory.runs.exit_codes import USAGE


def confirmed(question: str, stream: TextStream) -> bool:
    """Ask on a terminal. stream: standard error, because standard output may be JSON. Raises CommandError without a terminal."""
    if not sys.stdin.isatty():
        raise CommandError("the command asks on a terminal before it removes anything; without one, give --yes", returncode=USAGE)
    stream.write(f"{question} [y/N] ", ending="")
    stream.flush()
    try:
        return input().strip().casefold() in ("y", "yes")
    except EOFError:
        return False
