"""Keep the memory and the variables of this process from other processes of its user: a variable has the password of the database.

The variables of a process stay in its memory, and /proc shows them to its user. A stage is a process of the same user.
"""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def hide_memory() -> None:
    """Let no other process of this user read this process, and let neither it nor its stages write a core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # It ends with the next program that this process becomes, so it does not apply to stages.
    _set_readable(0)


def show_memory() -> None:
    """Let processes of this user read this process again, after a fork of a hidden one."""
    _set_readable(1)


def _set_readable(value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)
