"""The limits of the files that a command imports, from the settings of this installation."""

from django.conf import settings

from gregory.data.imports.table import Limits


def import_limits() -> Limits:
    """The limits of one file."""
    return Limits(
        line=settings.ENVIRONMENT.GREGORY_IMPORT_LINE,
        cell=settings.ENVIRONMENT.GREGORY_IMPORT_CELL,
        unpacked=settings.ENVIRONMENT.GREGORY_IMPORT_UNPACKED,
    )
