"""Processes of this machine as handles: a pid and its start time, which together never name another process."""

import socket
from pathlib import Path

import psutil

from gregory.runs.spec import RunHandle


def handle_of(pid: int) -> RunHandle:
    """The handle of a living process. Raises psutil.NoSuchProcess."""
    return RunHandle(host=socket.gethostname(), name=str(pid), uid=_started(psutil.Process(pid)))


def is_here(handle: RunHandle) -> bool:
    """Whether the handle names a process of this machine, so that its absence can be seen from here."""
    return handle.host == socket.gethostname()


def is_alive(handle: RunHandle) -> bool:
    """Whether exactly that process still runs; a zombie does not."""
    try:
        process = psutil.Process(int(handle.name))
        return _started(process) == handle.uid and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _started(process: psutil.Process) -> str:
    """When a process started, in a form that a later correction of the system clock does not change."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return f"{process.create_time():.2f}"
    # Field 22 of proc(5) is the start in clock ticks since boot; the name, field 2, may hold blanks and is cut off above.
    return f"{boot}:{fields[19]}"
