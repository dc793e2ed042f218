"""The control group under which all pods live, in every hierarchy of the machine (several in version 1, one in version 2)."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

# Not the kubelet's own default, at the root: what is ended and removed here must never be another Kubernetes's.
NAME = "gregory-cluster"
ONLY_VERSION_2 = Path("/sys/fs/cgroup")
# Without one of these in the group, the kubelet of a version 2 machine says that its group does not exist.
CONTROLLERS = ("cpu", "cpuset", "memory", "pids")


def create() -> None:
    """The group, with every controller that the kubelet asks for."""
    for hierarchy, version in _hierarchies():
        group = hierarchy / NAME
        # Beside version 1, version 2 has no controllers that matter.
        if version == "cgroup2" and hierarchy == ONLY_VERSION_2:
            (hierarchy / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in CONTROLLERS))
        group.mkdir(exist_ok=True)
        if version == "cgroup" and (group / "cpuset.cpus").exists():
            # Version 1 takes no process into a group that has no processors yet.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (group / setting).write_text((hierarchy / setting).read_text())


def kill() -> None:
    """End every process of every pod, and wait until none is left."""
    deadline = time.monotonic() + 30
    while left := members():
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {sorted(left)} in the control group {NAME} do not end")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def remove() -> None:
    """The group and all within; without processes."""
    for group in _groups():
        group.rmdir()


def exist() -> bool:
    return any(True for _ in _groups())


def members() -> set[int]:
    """Every process of every pod."""
    members: set[int] = set()
    for group in _groups():
        # A pod's group may go while we look.
        with contextlib.suppress(OSError):
            members.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return members


def _groups() -> Iterator[Path]:
    """The innermost first."""
    for hierarchy, _ in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / NAME, topdown=False):
            yield Path(folder)


def _hierarchies() -> list[tuple[Path, str]]:
    """Where each is mounted, and its kind: `cgroup` or `cgroup2`."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [(Path(place), kind) for _, place, kind, *_ in mounts if kind in ("cgroup", "cgroup2")]
