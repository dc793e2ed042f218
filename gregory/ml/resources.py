"""The processors and the memory of this process: quotas and limits of its control groups, not the totals of the host."""

import ctypes
import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# By default the idle threads of OpenMP wait in a loop for the next parallel part. If other programs use the processors, the threads take
# the time of those that compute: docs/decisions/0022-threads.md. The libraries read this variable once, during their import.
WAIT_POLICY = ("OMP_WAIT_POLICY", "PASSIVE")

_UNLIMITED = 1 << 60  # cgroup v1 reports "no limit" as a number near 2**63
# The instructions for products of int8, by their names in /proc/cpuinfo, the most recent first. They round in different ways.
_INTEGER_INSTRUCTIONS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx512bw", "avx2", "avx", "sse4_1", "i8mm", "asimddp", "asimd")
# With these variables an operator limits the libraries to older instructions.
_INSTRUCTION_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "CT2_FORCE_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEvents:
    """oom_kills: processes that the kernel killed for memory so far, 0 if it does not count them. limit: bytes, None if unlimited."""

    oom_kills: int
    limit: int | None


def cpu_count() -> int:
    """The useful number of threads: the smaller of the affinity mask and the CPU quota of the control groups, at least 1.

    joblib.cpu_count reads only the mount of the control groups: docs/decisions/0002-dependencies.md.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = min(map(_quota, _groups("cpu")))
    return max(1, min(available, available if math.isinf(quota) else math.ceil(quota)))


def integer_instructions() -> str:
    """The most recent instructions of this processor for int8, and the limits that an operator set, e.g. "avx512_vnni"."""
    flags = set(_read(Path("/proc/cpuinfo")).split())
    found = next((name for name in _INTEGER_INSTRUCTIONS if name in flags), platform.machine())
    return ", ".join((found, *(f"{name}={os.environ[name]}" for name in _INSTRUCTION_LIMITS if name in os.environ)))


def memory_events() -> MemoryEvents:
    """The memory figures of the kernel for this control group (v2 or v1). Without a control group: those of the host."""
    limit = min(map(_memory_limit, _groups("memory")))
    return MemoryEvents(oom_kills=_oom_kills(), limit=None if math.isinf(limit) else int(limit))


def available_memory() -> int:
    """Bytes that a process can still allocate: the smallest rest below a limit, or the free memory of the machine if that is less."""
    free = _field(_read(Path("/proc/meminfo")), "MemAvailable:") * 1024
    left = min(map(_memory_left, _groups("memory")))
    return max(0, int(min(left, free or left))) if math.isfinite(left) else free


def return_free_memory() -> None:
    """Give the memory that this process has freed back to the kernel. The C library keeps it between blocks that are in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # only glibc has it
        trim(0)


def _groups(controller: str) -> list[Path]:
    """The folders of this process's control group and of every group above it, the innermost first, in both versions.

    A process is bound by the limits of all of them. A container sees only its own group, at the mount.
    """
    # The name of version 2 in /proc/self/cgroup is empty.
    own = {"": "", controller: ""}
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, group = line.split(":", 2)
        own.update({name: group.lstrip("/") for name in controllers.split(",") if name in own})
    mounts = {"/sys/fs/cgroup": own[""], "/sys/fs/cgroup/unified": own[""], f"/sys/fs/cgroup/{controller}": own[controller]}
    chains = ((mount, (PurePosixPath(group), *PurePosixPath(group).parents)) for mount, group in mounts.items())
    return [Path(mount, group) for mount, chain in chains for group in chain]


def _quota(group: Path) -> float:
    """The processors that a group may use. Infinite without a quota."""
    quota, _, period = _read(group / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    # Without a quota the number is "max" in version 2 and -1 in version 1.
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(quota) else math.inf


def _memory_limit(group: Path) -> float:
    """The bytes that a group may use. Infinite without a limit."""
    text = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else math.inf


def _memory_left(group: Path) -> float:
    """The bytes below the limit of a group. The processes of its other child groups use it too."""
    used = int(_read(group / "memory.current") or _read(group / "memory.usage_in_bytes") or 0)
    # The kernel frees inactive file pages before it kills a process. Kubernetes counts in the same way.
    statistics = _read(group / "memory.stat")
    reclaimable = _field(statistics, "total_inactive_file") or _field(statistics, "inactive_file")
    return _memory_limit(group) - max(0, used - reclaimable)


def _oom_kills() -> int:
    # A kill counts in the group of its process, also if the limit of a group above was reached.
    # v2: memory.events. v1: memory.oom_control. Both have a line "oom_kill N".
    tables = (_read(group / name) for group in _groups("memory") for name in ("memory.events", "memory.oom_control"))
    return _field(next(filter(None, tables), "") or _read(Path("/proc/vmstat")), "oom_kill")


def _field(table: str, name: str) -> int:
    """The number after a name in a table of the kernel. 0 if the name is missing."""
    lines = (line.split() for line in table.splitlines())
    return next((int(line[1]) for line in lines if line and line[0] == name), 0)


def _read(path: Path) -> str:
    try:
        # Other characters are replaced, because the name of a control group can contain any character.
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
