"""Database errors as one line instead of a traceback."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from gregory.database import encryption
from gregory.output import one_line
from gregory.runs.db_retry import close_connection
from gregory.runs.exit_codes import FAILURE

T = TypeVar("T")


def again_if_lost(call: Callable[[], T]) -> T:
    """Call, and call once more if the connection was lost. For calls before any row is written.

    A database that is away is an error at once: then the operator can correct its settings.
    """
    try:
        return call()
    except (OperationalError, InterfaceError):
        close_connection()
        return call()


@contextmanager
def clear_database_errors() -> Iterator[None]:
    """Turn a database error into a CommandError with exit code FAILURE."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(describe(error), returncode=FAILURE) from error


def refuse_within_transaction(command: str) -> None:
    """Raise CommandError if the caller has an open transaction. Runs are other processes, which cannot see its rows."""
    if not connection.in_atomic_block:
        return
    try:
        # Only Django knows the transaction of a test case, in which it allows this block.
        with transaction.atomic(savepoint=False, durable=True):
            return
    except RuntimeError as error:
        remedy = "call it after the transaction, for example with transaction.on_commit"
        raise CommandError(
            f"{command} was called in a transaction, so the processes of its runs cannot see their rows; {remedy}", returncode=FAILURE
        ) from error


def describe(error: DatabaseError | InterfaceError) -> str:
    """The error of the database in one line, with a remedy."""
    message = one_line(str(error))
    remedy = encryption.remedy(message) or "check its settings, or run: python manage.py migrate"
    return f"the database cannot be used: {message}; {remedy}"
