"""The pause of a command that follows runs."""

import time

from gregory.runs.db_retry import close_connection

POLL_SECONDS = 5.0


def pause() -> None:
    """Sleep until the next pass, without a database connection."""
    close_connection()
    time.sleep(POLL_SECONDS)
