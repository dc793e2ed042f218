"""Errors of the database that a caller treats differently."""

from django.db import OperationalError


class RowLocked(OperationalError):
    """Another client holds the lock of a row for too long. The database answers, so writes of other rows may succeed."""
