"""Database calls of processes that last for hours: a connection that went away is opened again, a server that is away is waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connection

T = TypeVar("T")

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


def durably(call: Callable[[], T], *, sleep: Callable[[float], None] = time.sleep, patient: Callable[[], bool] = lambda: True) -> T:
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


def if_possible(call: Callable[[], T], *, otherwise: T) -> T:
    """Call once; what only informs (heartbeat, progress) must not end a training when the database is away."""
    try:
        return call()
    except (OperationalError, InterfaceError):
        connection.close()
        return otherwise
