"""Needs of a test on the machine. Without one the test is skipped with the remedy. With STRICT=1 it fails."""

import os

import pytest

STRICT = os.environ.get("STRICT") == "1"


def need(present: object, *, what: str, remedy: str) -> None:
    """Skip the test if `present` is false, or fail it in strict mode. The message has the remedy."""
    if present:
        return
    message = f"{what} is missing on this machine; {remedy}"
    if STRICT:
        pytest.fail(message)
    pytest.skip(message)
