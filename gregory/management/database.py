"""One clear line instead of a traceback where the database cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, InterfaceError


@contextmanager
def clear_database_errors() -> Iterator[None]:
    """Translate what the database says into a CommandError, exit code 1."""
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        raise CommandError(describe(error), returncode=1) from error


def describe(error: DatabaseError | InterfaceError) -> str:
    """The database's words in one line, and what to look at."""
    words = " ".join(str(error).split())
    return f"the database cannot be used: {words}; check its settings, or run: python manage.py migrate"
