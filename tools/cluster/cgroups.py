"""The parent control group of all pods, in every hierarchy of the machine (several in version 1, one in version 2)."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

# Not the kubelet's default at the root: the tests must never remove the group of another Kubernetes.
NAME = "gregory-cluster"
ONLY_VERSION_2 = Path("/sys/fs/cgroup")
# On a machine with version 2 the kubelet needs one of these controllers. Without it the kubelet reports that the group does not exist.
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")


def create(name: str = NAME) -> None:
    """Create the group with every controller that the kubelet needs. name: NAME, or the path of a group in it."""
    for hierarchy, version in _hierarchies():
        group = hierarchy / name
        # Beside version 1, version 2 has no controller that the kubelet needs.
        if version == "cgroup2" and hierarchy == ONLY_VERSION_2:
            (group.parent / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in CONTROLLERS))
        group.mkdir(exist_ok=True)
        if version == "cgroup" and (group / "cpuset.cpus").exists():
            # Version 1 accepts no process in a group without processors.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (group / setting).write_text((group.parent / setting).read_text())


def kill(name: str = NAME) -> None:
    """Kill every process of every pod in the group, and wait until none is left."""
    deadline = time.monotonic() + 120
    while left := members(name):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {sorted(left)} in the control group {name} do not end")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def remove() -> None:
    """Remove the group and all groups in it. No process may be left."""
    for group in _groups():
        group.rmdir()


def exist() -> bool:
    return any(True for _ in _groups())


def members(name: str = NAME) -> set[int]:
    """Every process of every pod in the group."""
    members: set[int] = set()
    for group in _groups(name):
        # The group of a pod can disappear meanwhile.
        with contextlib.suppress(OSError):
            members.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return members


def _groups(name: str = NAME) -> Iterator[Path]:
    """The group and all groups in it, the innermost first."""
    for hierarchy, _ in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            yield Path(folder)


def _hierarchies() -> list[tuple[Path, str]]:
    """Mount point and kind of each hierarchy: `cgroup` or `cgroup2`."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [(Path(place), kind) for _, place, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]
