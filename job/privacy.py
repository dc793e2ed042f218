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
    if sys.platform == "linux":
        # It ends with the next program that this process becomes, so it does not apply to stages.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
