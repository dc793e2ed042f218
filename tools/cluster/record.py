"""A record of all that the cluster uses of this machine. After a kill, another process restores the machine from it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from tools.cluster import cgroups, gpu, network, policies, second_node
from tools.docker_engine import CACHE

FILE = CACHE / "cluster.json"
# The kubelet changes these settings.
KERNEL = (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip
SETTINGS = Path("/proc/sys")
SHIMS = Path("/run/containerd/s")


@dataclass(kw_only=True)
class Record:
    """processes: by daemon, its number and start time. The start time tells it from a later process with this number."""

    folder: str
    by_hand: bool
    kernel: dict[str, str] = field(default_factory=dict)
    processes: dict[str, tuple[int, str]] = field(default_factory=dict)

    def note(self, name: str, pid: int) -> None:
        self.processes[name] = (pid, _identity(pid))
        self.save()

    def save(self) -> None:
        unfinished = FILE.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(self)))
        unfinished.rename(FILE)

    def alive(self) -> dict[str, int]:
        """Name and number of the daemons that still run."""
        return {name: pid for name, (pid, identity) in self.processes.items() if identity and _identity(pid) == identity}


def begin(folder: Path, *, by_hand: bool) -> Record:
    record = Record(folder=str(folder), by_hand=by_hand, kernel={name: (SETTINGS / name).read_text() for name in KERNEL})
    record.save()
    return record


def load() -> Record | None:
    """The record of a running cluster, or of one whose process was killed."""
    try:
        text = FILE.read_text()
    except FileNotFoundError:
        return None
    return Record(**json.loads(text))


def give_back(record: Record) -> None:
    """End and remove daemons, pods, mounts, control groups, network, folders and kernel settings."""
    folder = Path(record.folder)
    _end(list(record.alive().values()))
    cgroups.kill()
    sockets = shim_sockets(folder)
    _end([shim.pid for shim in _shims(folder)])
    for socket in sockets:
        socket.unlink(missing_ok=True)
    for place in mounts(folder):
        subprocess.run(["umount", "--lazy", place], check=True)
    cgroups.remove()
    if policies.NAME in record.processes:
        policies.remove()
    second_node.remove_link()
    network.remove(folder)
    shutil.rmtree(gpu.FOLDER, ignore_errors=True)
    with contextlib.suppress(OSError):
        gpu.FOLDER.parent.rmdir()
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(folder):
            link.unlink()
    for name, value in record.kernel.items():
        (SETTINGS / name).write_text(value)
    if folder.exists():
        _remove_later(folder)
    FILE.unlink()


def _remove_later(folder: Path) -> None:
    """Remove the folder in a process of its own. Its images have a hundred thousand files, for which a test session would wait."""
    away = folder.rename(folder.with_name(folder.name.replace("gregory-cluster-", "gregory-removed-")))
    subprocess.run(["sh", "-c", 'nice rm -rf "$0" >/dev/null 2>&1 &', str(away)], check=True, start_new_session=True)


def mounts(folder: Path) -> list[str]:
    """Every mount below the folder, the last first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    return [place for place in reversed(places) if Path(place).is_relative_to(folder)]


def end_pods(folder: Path) -> None:
    """End the pods of one node, whose daemons have ended. folder: of the node."""
    cgroups.kill(second_node.GROUP)
    _end([shim.pid for shim in _shims(folder)])


def shim_sockets(folder: Path) -> set[Path]:
    """Sockets of the shims of these pods. The sockets of every containerd, also of a Docker engine, share one folder."""
    states = [address for node in _nodes(folder) for address in node.glob("containerd/state/*/*/*/address")]
    addresses = {address.read_text().removeprefix("unix://") for address in states}
    for shim in _shims(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            addresses.update(connection.laddr for connection in shim.net_connections("unix"))
    return {Path(address) for address in addresses if Path(address).parent == SHIMS}


def _nodes(folder: Path) -> tuple[Path, Path]:
    """The folders of both nodes. That of the first one is the folder of the cluster."""
    return folder, second_node.folder_in(folder)


def _shims(folder: Path) -> list[psutil.Process]:
    """The shim of each pod, which outlives containerd. Its command line names its containerd."""
    sockets = {f"{node}/containerd.sock" for node in _nodes(folder)}
    return [process for process in psutil.process_iter(["cmdline"]) if sockets & set(process.info["cmdline"] or ())]


def _end(pids: list[int]) -> None:
    deadline = time.monotonic() + 120
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while left := [pid for pid in pids if _identity(pid)]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {left} of the cluster do not end")
        time.sleep(0.05)


def _identity(pid: int) -> str:
    """Start time in ticks since boot. Empty: the process has ended, reaped or not."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "" if state in ("Z", "X") else f"{boot} {rest[18]}"
