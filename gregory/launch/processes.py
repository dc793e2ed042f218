"""Handles of processes on this machine. A process id and its start time together identify one process for ever.

A container has process ids of its own. The host of its handles therefore includes the id of its pid namespace.
"""

import os
import socket
from pathlib import Path

import psutil

from gregory.launch.runner import Observation, Status
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.spec import RunHandle

# The pid namespace of a booted Linux always has this number: PROC_PID_INIT_INO.
_FIRST_NAMESPACE = "pid:[4026531836]"


def handle_of(pid: int) -> RunHandle:
    """The handle of a running process. Raises psutil.NoSuchProcess."""
    return RunHandle(host=_machine(), name=str(pid), uid=_started(psutil.Process(pid)))


def observe(handle: RunHandle) -> Observation:
    """Observe a process. TERMINATED is certain.

    The status is UNKNOWN if the process belongs to another machine, or if this account cannot see it. After another boot the process has
    ended, unless another machine has the same name. So the status is UNKNOWN too, with that end as the diagnosis.
    """
    process = f"process {handle.name}"
    if handle.host != _machine():
        return Observation(status=Status.UNKNOWN, detail=f"{process} belongs to host {handle.host}")
    boot, colon, _ = handle.uid.rpartition(":")
    if boot != _boot() or (colon and not boot):
        detail = f"{process} belongs to another boot of {handle.host}, or to another machine of that name"
        return Observation(status=Status.UNKNOWN, detail=detail, diagnosis=Diagnosis(summary=detail))
    status = _status(int(handle.name), handle.uid)
    if status is Status.TERMINATED:
        return Observation(status=status, diagnosis=Diagnosis(summary=f"{process} on {handle.host} ended without a report"))
    return Observation(status=status, detail=f"{process} runs" if status is Status.ALIVE else f"{process} is hidden from this account")


def _status(pid: int, uid: str) -> Status:
    """The status of exactly this process. A zombie has ended. With `hidepid`, /proc hides the processes of other accounts."""
    try:
        process = psutil.Process(pid)
        return Status.ALIVE if _started(process) == uid and process.status() != psutil.STATUS_ZOMBIE else Status.TERMINATED
    except psutil.ZombieProcess:
        return Status.TERMINATED
    except psutil.NoSuchProcess:
        return Status.UNKNOWN if _has_number(pid) else Status.TERMINATED
    except (psutil.AccessDenied, PermissionError):
        return Status.UNKNOWN


def _has_number(pid: int) -> bool:
    """Whether any process has this id. The kernel also answers for a process that /proc hides."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _machine() -> str:
    """The host of this machine's handles: its name and, in a container, its pid namespace."""
    name = socket.gethostname()
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return name
    return name if namespace == _FIRST_NAMESPACE else f"{name} {namespace}"


def _boot() -> str:
    """The id of this boot, which no other boot of any machine has. Empty if the system has none or hides it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(process: psutil.Process) -> str:
    """The start of a process. A later correction of the system clock does not change it."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        # The process may end between the opening and the reading.
        return f"{process.create_time():.2f}"
    # Field 22 of proc(5) is the start in clock ticks since boot. Field 2, the name, may contain blanks and is removed above.
    return f"{_boot()}:{fields[19]}"
