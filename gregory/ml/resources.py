"""The processors and the memory of this process: CPU quota and memory limit of its control group, not the totals of the host."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # cgroup v1 reports "no limit" as a number near 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEvents:
    """oom_kills: processes that the kernel killed for memory so far, 0 if it does not count them. limit: bytes, None if unlimited."""

    oom_kills: int
    limit: int | None


def cpu_count() -> int:
    """The useful number of threads: the smaller of the affinity mask and the CPU quota of the control group, at least 1.

    joblib.cpu_count reads only the mount of the control groups: docs/decisions/0002-dependencies.md.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _cpu_quota()
    return max(1, min(available, math.ceil(quota)) if quota else available)


def memory_events() -> MemoryEvents:
    """The memory figures of the kernel for this control group (v2 or v1). Without a control group: those of the host."""
    return MemoryEvents(oom_kills=_oom_kills(), limit=_memory_limit())


def available_memory() -> int:
    """Bytes that a process can still allocate: the smaller of the rest below the limit and the free memory of the machine."""
    free = _field(_read(Path("/proc/meminfo")), "MemAvailable:") * 1024
    limit = _memory_limit()
    if limit is None:
        return free
    used = int(_first(_cgroup_files("memory", "memory.current", "memory.usage_in_bytes")) or 0)
    # The kernel frees inactive file pages before it kills a process. Kubernetes counts in the same way.
    statistics = _first(_cgroup_files("memory", "memory.stat", "memory.stat"))
    reclaimable = _field(statistics, "total_inactive_file") or _field(statistics, "inactive_file")
    left = limit - max(0, used - reclaimable)
    return max(0, min(free, left) if free else left)


def _field(table: str, name: str) -> int:
    """The number after a name in a table of the kernel. 0 if the name is missing."""
    lines = (line.split() for line in table.splitlines())
    return next((int(line[1]) for line in lines if line and line[0] == name), 0)


def _cgroup_files(v1_controller: str, v2_name: str, v1_name: str) -> list[Path]:
    """The possible files of a figure: first the process's own group, then the mount in a container."""
    candidates = []
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        hierarchy, controllers, group = line.split(":", 2)
        if hierarchy == "0":
            candidates += [Path("/sys/fs/cgroup", group.lstrip("/"), v2_name), Path("/sys/fs/cgroup/unified", group.lstrip("/"), v2_name)]
        elif v1_controller in controllers.split(","):
            candidates.append(Path("/sys/fs/cgroup", v1_controller, group.lstrip("/"), v1_name))
    return [*candidates, Path("/sys/fs/cgroup", v2_name), Path("/sys/fs/cgroup", v1_controller, v1_name)]


def _first(paths: list[Path]) -> str:
    return next((text for text in map(_read, paths) if text), "")


def _read(path: Path) -> str:
    try:
        # Other characters are replaced, because the name of a control group can contain any character.
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _cpu_quota() -> float | None:
    v2 = _first(_cgroup_files("cpu", "cpu.max", "cpu.max"))
    if v2:
        quota, period = v2.split()
        return None if quota == "max" else int(quota) / int(period)
    quota_v1, period_v1 = (_first(_cgroup_files("cpu", name, name)) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    if not quota_v1 or not period_v1 or int(quota_v1) <= 0:
        return None
    return int(quota_v1) / int(period_v1)


def _memory_limit() -> int | None:
    text = _first(_cgroup_files("memory", "memory.max", "memory.limit_in_bytes"))
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _oom_kills() -> int:
    # v2: memory.events. v1: memory.oom_control. Both have a line "oom_kill N".
    return _field(_first(_cgroup_files("memory", "memory.events", "memory.oom_control")) or _read(Path("/proc/vmstat")), "oom_kill")
