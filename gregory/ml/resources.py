"""How much machine this process really has: CPU quota and memory limit of its control group, never the host's totals."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # cgroup v1 reports "no limit" as a number near 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEvents:
    """oom_kills: processes the kernel killed for memory so far, where it counts them; limit: bytes, None where unlimited."""

    oom_kills: int
    limit: int | None


def cpu_count() -> int:
    """Threads worth starting: the smaller of the affinity mask and the cgroup's CPU quota, at least 1."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _cpu_quota()
    return max(1, min(available, math.ceil(quota)) if quota else available)


def memory_events() -> MemoryEvents:
    """What the kernel says about memory in this control group (v2 or v1), or host-wide where there is none."""
    return MemoryEvents(oom_kills=_oom_kills(), limit=_memory_limit())


def available_memory() -> int:
    """Bytes a process may still take: what the control group leaves below its limit, or the machine has to give, whichever is less."""
    free = _field(_read(Path("/proc/meminfo")), "MemAvailable:") * 1024
    limit = _memory_limit()
    if limit is None:
        return free
    used = int(_first(_cgroup_files("memory", "memory.current", "memory.usage_in_bytes")) or 0)
    # File pages that nobody touched lately are given back before anybody is killed; so Kubernetes counts, too.
    statistics = _first(_cgroup_files("memory", "memory.stat", "memory.stat"))
    reclaimable = _field(statistics, "total_inactive_file") or _field(statistics, "inactive_file")
    left = limit - max(0, used - reclaimable)
    return max(0, min(free, left) if free else left)


def _field(table: str, name: str) -> int:
    """The number behind a name in one of the kernel's tables; 0 where it is not there."""
    lines = (line.split() for line in table.splitlines())
    return next((int(line[1]) for line in lines if line and line[0] == name), 0)


def _cgroup_files(v1_controller: str, v2_name: str, v1_name: str) -> list[Path]:
    """Where the kernel keeps a figure: the process's own group first, then the mount as a container sees it."""
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
        # Replaced, not refused: a control group may be called anything.
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
    # v2: memory.events; v1: memory.oom_control; both hold a line "oom_kill N".
    return _field(_first(_cgroup_files("memory", "memory.events", "memory.oom_control")) or _read(Path("/proc/vmstat")), "oom_kill")
