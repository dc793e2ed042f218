"""What a test needs of the machine: missing, it is skipped aloud with the remedy, and in strict mode it fails."""

import os

import pytest

STRICT = os.environ.get("STRICT") == "1"


def need(present: object, *, what: str, remedy: str) -> None:
    """Go on where `present` is true; otherwise skip, or fail in strict mode, saying what to do about it."""
    if present:
        return
    message = f"{what} is missing on this machine; {remedy}"
    if STRICT:
        pytest.fail(message)
    pytest.skip(message)
