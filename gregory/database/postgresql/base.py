"""Django's wrapper of a PostgreSQL connection, with one translation of errors and with limits in each transaction.

Limits are local to a transaction, because a connection pool in transaction mode passes a session to other clients.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

import psycopg
from django.db import OperationalError, transaction
from django.db.backends.postgresql import base
from django.db.backends.postgresql.client import DatabaseClient
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg import sql

from gregory.database import run_token, waits
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


class Client(DatabaseClient):
    """psql, which `dbshell` calls. It gets the permitted proofs too. psql knows them since version 16."""

    @classmethod
    def settings_to_cmd_args_env(cls, settings_dict: dict[str, Any], parameters: Iterable[str]) -> tuple[list[str], dict[str, str] | None]:
        """The command, and the variables in addition to those of this process."""
        command, variables = super().settings_to_cmd_args_env(settings_dict, parameters)
        proofs = settings_dict["OPTIONS"].get("require_auth")
        return command, {**(variables or {}), "PGREQUIREAUTH": proofs} if proofs else variables


class DatabaseWrapper(base.DatabaseWrapper):
    """The connection of one thread."""

    SchemaEditorClass = SchemaEditor
    client_class = Client

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute_wrappers.append(_in_transaction)

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
        if not autocommit and (settings := list(_local_settings())):
            with self.wrap_database_errors:
                self.connection.execute(sql.SQL("; ").join(settings))


def _local_settings() -> Iterator[sql.Composable]:
    """The settings of a transaction that begins."""
    if waits.answer_seconds() < math.inf:
        yield sql.SQL(f"SET LOCAL lock_timeout = '{waits.LOCK_SECONDS}s'")
        yield sql.SQL(f"SET LOCAL statement_timeout = '{waits.STATEMENT_SECONDS}s'")
        yield sql.SQL(f"SET LOCAL idle_in_transaction_session_timeout = '{waits.IDLE_SECONDS}s'")
    if token := run_token.current():
        yield sql.SQL(f"SET LOCAL {run_token.SETTING} = {{}}").format(sql.Literal(token))


def _in_transaction(execute: Callable[..., Any], statement: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
    """Execute a statement of a run in a transaction, which has the run's token."""
    wrapper = context["connection"]
    if wrapper.in_atomic_block or not run_token.current():
        return execute(statement, parameters, many, context)
    with transaction.atomic(using=wrapper.alias):
        return execute(statement, parameters, many, context)
