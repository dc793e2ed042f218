"""Processes of this machine as handles: a pid and its start time, which together never name another process.

Where process ids are a container's own, the machine is that container, whatever host name it was given.
"""

import socket
from pathlib import Path

import psutil

from gregory.launch.runner import Observation, Status
from gregory.runs.spec import RunHandle

# Linux gives the one that it boots with always this number: PROC_PID_INIT_INO.
_FIRST_NAMESPACE = "pid:[4026531836]"


def handle_of(pid: int) -> RunHandle:
    """The handle of a living process. Raises psutil.NoSuchProcess."""
    return RunHandle(host=_machine(), name=str(pid), uid=_started(psutil.Process(pid)))


def is_here(handle: RunHandle) -> bool:
    """Whether the handle names a process of this machine, so that its absence can be seen from here."""
    return handle.host == _machine()


def is_alive(handle: RunHandle) -> bool:
    """Whether exactly that process still runs; a zombie does not."""
    try:
        process = psutil.Process(int(handle.name))
        return _started(process) == handle.uid and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def observe(handle: RunHandle) -> Observation:
    """What can be seen of a process from here: nothing where it is another machine's."""
    if not is_here(handle):
        return Observation(status=Status.UNKNOWN, detail=f"process {handle.name} belongs to host {handle.host}")
    if is_alive(handle):
        return Observation(status=Status.ALIVE, detail=f"process {handle.name} runs")
    return Observation(status=Status.TERMINATED, detail=f"process {handle.name} on {handle.host} is gone and left no report")


def _machine() -> str:
    """The name under which this machine's process ids mean something."""
    name = socket.gethostname()
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return name
    return name if namespace == _FIRST_NAMESPACE else f"{name} {namespace}"


def _started(process: psutil.Process) -> str:
    """When a process started, in a form that a later correction of the system clock does not change."""
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return f"{process.create_time():.2f}"
    # Field 22 of proc(5) is the start in clock ticks since boot; the name, field 2, may hold blanks and is cut off above.
    return f"{boot}:{fields[19]}"
