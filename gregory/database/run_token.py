"""The attempt that this process executes. Its token is a setting of every transaction, which the row policies of PostgreSQL compare.

`docs/sql/least-privilege.sql` has the policies. The setting is local to the transaction, because a connection pool in transaction mode
passes a session to other clients.
"""

from collections.abc import Iterator
from contextlib import contextmanager

SETTING = "gregory.run_token"

_token = ""


@contextmanager
def of_attempt(token: str) -> Iterator[None]:
    """Within this block, all transactions of this process are those of the attempt."""
    global _token
    before, _token = _token, token
    try:
        yield
    finally:
        _token = before


def current() -> str:
    """The token; empty in a process that executes no run."""
    return _token
