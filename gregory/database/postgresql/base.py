"""Django's wrapper of a PostgreSQL connection, with one translation of errors and with limits in each transaction.

Limits are local to a transaction, because a connection pool in transaction mode passes a session to other clients.
"""

import math
from types import TracebackType
from typing import Any

import psycopg
from django.db import OperationalError
from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property

from gregory.database import waits
from gregory.database.errors import RowLocked
from gregory.database.postgresql.session import Session

# psycopg makes InternalError, an error of the program, of the whole class 25. These three are states of the server: it accepts no
# writes, or it ended an idle transaction or a long one.
NOT_NOW = frozenset({"25006", "25P03", "25P04"})


def not_now(error: BaseException | None) -> bool:
    """Whether the same call may succeed later, on a new connection: the server is away, starts, stops, or accepts no writes."""
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return True
    return isinstance(error, psycopg.Error) and error.sqlstate in NOT_NOW


class ErrorTranslation(DatabaseErrorWrapper):
    """Turns each error that means "not now" into OperationalError, and closes the connection.

    A new connection finds the new primary, if the address of the server moved.
    """

    def __init__(self, wrapper: "DatabaseWrapper") -> None:
        super().__init__(wrapper)
        self._wrapper = wrapper

    def __exit__(self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None) -> None:
        if exc_value is None or not not_now(exc_value):
            super().__exit__(exc_type, exc_value, traceback)
            return
        self._wrapper.errors_occurred = True
        self._wrapper.close()
        if isinstance(exc_value, psycopg.InterfaceError):
            super().__exit__(exc_type, exc_value, traceback)
        kind = RowLocked if isinstance(exc_value, psycopg.errors.LockNotAvailable) else OperationalError
        raise kind(*exc_value.args).with_traceback(traceback) from exc_value


class SchemaEditor(DatabaseSchemaEditor):
    """Changes of tables. They have no limit, because the change of a large table takes its time."""

    def __enter__(self) -> "SchemaEditor":
        self._unlimited = waits.answer_within(math.inf)
        self._unlimited.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._unlimited.__exit__(None, None, None)


class DatabaseWrapper(base.DatabaseWrapper):
    """The connection of one thread."""

    SchemaEditorClass = SchemaEditor

    @cached_property
    def wrap_database_errors(self) -> ErrorTranslation:
        """The translation of psycopg's errors."""
        return ErrorTranslation(self)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Session:
        """A connection whose waits have a limit."""
        self.isolation_level = IsolationLevel.READ_COMMITTED
        return Session.connect(**conn_params)

    def _set_autocommit(self, autocommit: bool) -> None:
        super()._set_autocommit(autocommit)  # type: ignore[misc] # django-stubs lacks it
        if not autocommit and waits.answer_seconds() < math.inf:
            with self.wrap_database_errors:
                self.connection.execute(
                    f"SET LOCAL lock_timeout = '{waits.LOCK_SECONDS}s'; "
                    f"SET LOCAL statement_timeout = '{waits.STATEMENT_SECONDS}s'; "
                    f"SET LOCAL idle_in_transaction_session_timeout = '{waits.IDLE_SECONDS}s'"
                )
