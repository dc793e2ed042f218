"""Database calls of processes that last for hours: a connection that went away is opened again, a server that is away is waited for.

No transaction stays open: what writes is short, and what reads says so and has a limit.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connection, transaction

T = TypeVar("T")
IDLE_IN_TRANSACTION = "25P03"

# Five minutes in all: a server that is restarted, upgraded or moved to another machine is back by then.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0, 60.0)
# After a restart of the server every run is heard of within this many seconds: it tries every 15, and waits 20 for an answer.
RESTART_GRACE = 60.0
# Longest time of one read, and of a pause between two. A transaction that lasts keeps the server from clearing away what others delete.
STATEMENT_SECONDS, PAUSE_SECONDS = 120, 60


def retry_on_disconnect(
    call: Callable[[], T], *, sleep: Callable[[float], None] = time.sleep, patient: Callable[[], bool] = lambda: True
) -> T:
    """Call, and call again after each pause while the database cannot be reached; the last error passes through.

    patient: asked after a failure; once it is not, there is one more call and no pause.
    """
    for pause in PAUSES:
        try:
            return call()
        except (OperationalError, InterfaceError):
            connection.close()
            if not patient():
                break
            sleep(pause)
    return call()


def best_effort(call: Callable[[], T], *, otherwise: T) -> T:
    """Call once; what only informs (heartbeat, progress) must not end a training when the database is away."""
    try:
        return call()
    except (OperationalError, InterfaceError):
        connection.close()
        return otherwise


def close_connection() -> None:
    """Hold no connection while there is nothing to ask: somebody's timeout would cut it, or a restart. A transaction keeps its own."""
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def read_only_transaction() -> Iterator[None]:
    """A read-only transaction whose reads all see one moment and may be streamed; inside another transaction, a part of that.

    The server ends a read that takes too long, and a transaction whose reader has stopped.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        # SQLite's transactions take the lock of writers.
        yield
        return
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                    f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; "
                    f"SET LOCAL idle_in_transaction_session_timeout = '{PAUSE_SECONDS}s'; "
                    # Every reader reads to the end. PostgreSQL thinks of the first tenth, and walks through all subjects' rows for it.
                    "SET LOCAL cursor_tuple_fraction = 1"
                )
            yield
    except InternalError as error:
        # A reader that was cut off may begin again; psycopg counts that among a program's own mistakes.
        if getattr(error.__cause__, "sqlstate", "") == IDLE_IN_TRANSACTION:
            raise OperationalError(str(error)) from error
        raise
