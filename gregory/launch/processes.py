"""Handles of processes on this machine. A process id and its start time together identify one process for ever.

A container has process ids of its own. The host of its handles therefore includes the id of its pid namespace.
"""

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


def is_here(handle: RunHandle) -> bool:
    """Whether the handle belongs to this machine, so that its process can be observed."""
    return handle.host == _machine()


def is_alive(handle: RunHandle) -> bool:
    """Whether exactly this process still runs. A zombie does not run."""
    try:
        process = psutil.Process(int(handle.name))
        return _started(process) == handle.uid and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def observe(handle: RunHandle) -> Observation:
    """Observe a process. The status is UNKNOWN if it belongs to another machine."""
    if not is_here(handle):
        return Observation(status=Status.UNKNOWN, detail=f"process {handle.name} belongs to host {handle.host}")
    if is_alive(handle):
        return Observation(status=Status.ALIVE, detail=f"process {handle.name} runs")
    summary = f"process {handle.name} on {handle.host} ended without a report"
    return Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary=summary))


def _machine() -> str:
    """The host of this machine's handles: its name and, in a container, its pid namespace."""
    name = socket.gethostname()
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return name
    return name if namespace == _FIRST_NAMESPACE else f"{name} {namespace}"


def _started(process: psutil.Process) -> str:
    """The start of a process. A later correction of the system clock does not change it."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return f"{process.create_time():.2f}"
    # Field 22 of proc(5) is the start in clock ticks since boot. Field 2, the name, may contain blanks and is removed above.
    return f"{boot}:{fields[19]}"
