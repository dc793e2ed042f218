"""Database errors as one line instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError

from gregory.runs.exit_codes import FAILURE


@contextmanager
def clear_database_errors() -> Iterator[None]:
    """Turn a database error into a CommandError with exit code FAILURE."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(describe(error), returncode=FAILURE) from error


def describe(error: DatabaseError | InterfaceError) -> str:
    """The error of the database in one line, with a remedy."""
    message = " ".join(str(error).split())
    return f"the database cannot be used: {message}; check its settings, or run: python manage.py migrate"
