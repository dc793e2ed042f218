"""The operator of a command, for the rows that it writes."""

import getpass
import os
import socket


def operator() -> str:
    """The account and the host. A container may have a user id without an account."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # Python 3.13 raises OSError, and earlier versions raise KeyError.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
