"""Database calls of processes that last for hours. They open a lost connection again and wait for a server that does not answer.

No transaction stays open. Transactions that write are short. Those that read are read-only and have a time limit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction

from gregory.database import waits
from gregory.runs.outage import OUTAGES

T = TypeVar("T")

# Five minutes in total. A server that is restarted, upgraded or moved to another host answers again by then.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0, 60.0)
# Every run writes a heartbeat within this many seconds after the database is back: the interval of heartbeats (15 s), and the longest
# time for which a run waits for a connection (20 s) and for an answer (40 s).
RETURN_GRACE = 120.0
# Limits of one read and of a pause between two. During a long transaction the server cannot remove deleted rows of other tables.
STATEMENT_SECONDS, PAUSE_SECONDS = 120, 60
MARGIN_SECONDS = 10


def _patient() -> bool:
    return not waits.ending()


def retry_on_disconnect(
    call: Callable[[], T], *, sleep: Callable[[float], None] = waits.pause, patient: Callable[[], bool] = _patient
) -> T:
    """Call, and call again after each pause while the database cannot be reached. Raises the last error.

    patient: called after a failure. If it returns False, there is one more call and no pause.
    """
    for pause in PAUSES:
        try:
            return call()
        except (OperationalError, InterfaceError):
            OUTAGES.notice()
            connection.close()
            if not patient():
                break
            sleep(pause)
    return call()


def best_effort(call: Callable[[], T], *, otherwise: T) -> T:
    """Call once. `otherwise` if the database cannot be reached: a lost heartbeat or progress must not end a training."""
    try:
        return call()
    except (OperationalError, InterfaceError):
        OUTAGES.notice()
        connection.close()
        return otherwise


def close_connection() -> None:
    """Close the connection until the next call: a timeout or a restart would break an idle one. Within a transaction, do nothing."""
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def read_only_transaction() -> Iterator[None]:
    """A read-only transaction. All its reads see the same state and may be streamed. Within another transaction, a part of that one.

    The server ends a read above STATEMENT_SECONDS, and a transaction that is idle above PAUSE_SECONDS. Raises only errors of Django.
    """
    # Django does not translate the error of a CLOSE: a streamed read closes its cursor in the server after the last row.
    with connection.wrap_database_errors:
        yield from _read_only_transaction()


def _read_only_transaction() -> Iterator[None]:
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        # A transaction of SQLite takes the lock of writers.
        yield
        return
    # The server ends a long read first, with a clear error.
    with waits.answer_within(STATEMENT_SECONDS + MARGIN_SECONDS), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; "
                f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; "
                f"SET LOCAL idle_in_transaction_session_timeout = '{PAUSE_SECONDS}s'; "
                # Every reader reads to the end. PostgreSQL optimises for the first tenth, and then scans the rows of all subjects.
                "SET LOCAL cursor_tuple_fraction = 1"
            )
        yield
