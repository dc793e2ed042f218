"""`python -m tests.live.nfs`: two machines work on the models of one NFS server, and one of them loses its link.

The server is nfs-ganesha. Each machine is a User-mode Linux, which has the NFS client of its kernel: hard mounts, NFS 4.1, and the
attribute cache that Linux has by default. All of them have one network and one process namespace, which end with the command. It needs
root and the Debian packages user-mode-linux, nfs-ganesha-vfs and kmod. Exit code 1: something was not as it must be.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gregory.ml import artifacts
from tests.live.nfs_guest import spec_of, version_of
from tests.published import finished_training
from tools.cluster.binaries import IP
from tools.installation import REPOSITORY

LINUX, SERVER = "/usr/bin/linux.uml", "/usr/bin/ganesha.nfsd"
MODULES = Path("/usr/lib/uml/modules")
# Everything ends with the command, however it ends.
ALONE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
# In the order in which they need each other.
NFS_CLIENT = (
    "net/sunrpc/sunrpc", "fs/nfs_common/grace", "fs/lockd/lockd", "fs/nfs_common/nfs_acl", "fs/netfs/netfs", "fs/fscache/fscache",
    "fs/nfs/nfs", "net/dns_resolver/dns_resolver", "fs/nfs/nfsv4",
)  # fmt: skip
BRIDGE, ADDRESS = "models0", "10.99.0.1"
# Seconds of silence after which the server forgets a client and its locks. Linux servers have 90.
LEASE = 20
SECONDS = 600
CONFIG = """
NFS_CORE_PARAM {{ Protocols = 4; Bind_addr = {address}; Enable_NLM = false; Enable_RQUOTA = false; fsid_device = true; }}
NFSv4 {{ Graceless = true; Lease_Lifetime = {lease}; RecoveryBackend = fs; RecoveryRoot = {folder}/recovery; }}
EXPORT {{ Export_Id = 1; Path = {folder}/models; Pseudo = /models; Access_Type = RW; Squash = None; Protocols = 4; SecType = sys;
  FSAL {{ Name = VFS; }} }}
"""
# The guest reads the files of this machine, and the models over NFS.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /mnt; mkdir /mnt/models
{modules}
# A server takes two clients with one name for one machine that has started again.
hostname {name}
ip address add {address}/24 dev vec0; ip link set vec0 up
mount -i -t nfs4 -o vers=4.1,hard,timeo=50,sec=sys,addr={server},clientaddr={address} {server}:/models /mnt/models &&
  cd {repository} && PYTHONDONTWRITEBYTECODE=1 {python} -m tests.live.nfs_guest {folder} || touch {folder}/failed
echo o > /proc/sysrq-trigger
"""
Check = Callable[["Machine", "Machine"], Iterator[tuple[str, bool]]]


@dataclass(kw_only=True)
class Machine:
    """One guest. folder: its requests and answers."""

    number: int
    folder: Path
    _requests: int = field(default=0, init=False)

    @property
    def _link(self) -> str:
        return f"models{self.number}"

    @contextmanager
    def running(self) -> Iterator[None]:
        self.folder.mkdir()
        address = f"10.99.0.{10 + self.number}"
        (tree,) = MODULES.iterdir()
        init = self.folder / "init"
        modules = "\n".join(f"insmod {tree}/kernel/{name}.ko" for name in NFS_CLIENT)
        init.write_text(
            INIT.format(
                modules=modules,
                name=self._link,
                address=address,
                server=ADDRESS,
                repository=REPOSITORY,
                python=sys.executable,
                folder=self.folder,
            )
        )
        init.chmod(0o755)
        _ip("tuntap", "add", self._link, "mode", "tap")
        _ip("link", "set", self._link, "master", BRIDGE, "up")
        command = [
            LINUX, f"uml_dir={self.folder}", "mem=512M", "rootfstype=hostfs", "rw", f"init={init}", "con=null", "con0=null,fd:1",
            f"vec0:transport=tap,ifname={self._link},depth=64",
        ]  # fmt: skip
        with (self.folder / "log").open("w") as log:
            guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
            self.ask("end", wait=False)
            guest.wait(60)
        finally:
            guest.kill()
            guest.wait()

    def ask(self, function: str, *arguments: Any, wait: bool = True) -> Any:
        """The answer to a request. Without `wait` it is for `answer`."""
        self._requests += 1
        request = self.folder / f"{self._requests}.request"
        request.with_suffix(".unfinished").write_text(json.dumps([function, *arguments]))
        request.with_suffix(".unfinished").rename(request)
        return self.answer() if wait else None

    def answer(self) -> Any:
        """The answer to the last request."""
        file = self.folder / f"{self._requests}.answer"
        self.until(file.exists)
        return json.loads(file.read_text())

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            if (self.folder / "failed").exists() or time.monotonic() > deadline:
                raise RuntimeError(f"machine {self.number} does not answer: {(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.1)

    def publish_cut_off(self, subject: str) -> None:
        """Let the first attempt of the subject lose its link between its last comparison and its rename."""
        for sign in ("paused", "go"):
            (self.folder / sign).unlink(missing_ok=True)
        self.ask("publish", subject, 1, True, wait=False)
        self.until((self.folder / "paused").exists)
        # Not down: a User-mode Linux does not use a device again that gave it an error.
        _ip("link", "set", self._link, "nomaster")
        (self.folder / "go").touch()

    def reconnect(self) -> str:
        """The result of the publication, after the link is back."""
        _ip("link", "set", self._link, "master", BRIDGE)
        return str(self.answer())


def a_version_of_another_machine(first: Machine, second: Machine) -> Iterator[tuple[str, bool]]:
    """The second machine has looked for a version before the first publishes it."""
    subject = "cached"
    first.ask("take", subject, 1)
    yield "a version is missing before it is published", second.ask("defects", subject) != [] and not second.ask("plain", subject)
    yield "the first machine publishes it", first.ask("publish", subject, 1, False) == "published"
    # Otherwise the next line shows nothing.
    yield "control: the second machine still remembers that it is missing", not second.ask("plain", subject)
    yield "our commands find it at once, and complete", second.ask("defects", subject) == []


def a_late_rename_after_the_next_attempt(first: Machine, second: Machine) -> Iterator[tuple[str, bool]]:
    """The first machine loses its link within its publication. The next attempt publishes on the second one meanwhile."""
    subject = "late"
    first.ask("take", subject, 1)
    first.publish_cut_off(subject)
    seconds = second.ask("take", subject, 2)
    yield f"the next attempt gets the fence ({seconds:.0f} s)", seconds < 90
    yield "it gets the finished model", f"train-lstm/out/model/{artifacts.MANIFEST}" in second.ask("take_over", subject, 2)
    yield "it publishes the model", second.ask("publish", subject, 2, False) == "published"
    late = first.reconnect()
    yield f"the late rename has no effect ({late})", late != "published"
    yield "the version is complete for both", first.ask("defects", subject) == second.ask("defects", subject) == []


def a_late_rename_before_the_next_publication(first: Machine, second: Machine) -> Iterator[tuple[str, bool]]:
    """The link is back after the next attempt has begun and before it publishes."""
    subject = "between"
    first.ask("take", subject, 1)
    first.publish_cut_off(subject)
    second.ask("take", subject, 2)
    second.ask("take_over", subject, 2)
    late = first.reconnect()
    yield f"the late rename has no effect, because its folder is gone ({late})", late != "published"
    yield "the next attempt publishes", second.ask("publish", subject, 2, False) == "published"
    yield "the version is complete for both", first.ask("defects", subject) == second.ask("defects", subject) == []


def a_late_rename_before_the_next_attempt_takes_over(first: Machine, second: Machine) -> Iterator[tuple[str, bool]]:
    """The link is back while the next attempt has the fence and not yet the work of the first one."""
    subject = "before"
    first.ask("take", subject, 1)
    first.publish_cut_off(subject)
    second.ask("take", subject, 2)
    late = first.reconnect()
    yield f"the rename that waited is executed ({late})", late == "published"
    yield "its model is complete", second.ask("defects", subject) == []
    left = second.ask("take_over", subject, 2)
    yield "the next attempt finds no second model", not [name for name in left if name.endswith(artifacts.MANIFEST)]
    yield "the version stays complete for both", first.ask("defects", subject) == second.ask("defects", subject) == []


CASES: tuple[Check, ...] = (
    a_version_of_another_machine,
    a_late_rename_after_the_next_attempt,
    a_late_rename_before_the_next_publication,
    a_late_rename_before_the_next_attempt_takes_over,
)


@contextmanager
def served(folder: Path) -> Iterator[None]:
    """The NFS server of `folder`/models for the block."""
    config, log = folder / "ganesha.conf", folder / "ganesha.log"
    config.write_text(CONFIG.format(address=ADDRESS, lease=LEASE, folder=folder))
    (folder / "recovery").mkdir()
    command = [SERVER, "-F", "-f", str(config), "-L", str(log), "-p", str(folder / "ganesha.pid")]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + SECONDS
        while not log.exists() or "NFS SERVER INITIALIZED" not in log.read_text():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the NFS server does not start: {log.read_text()[-3000:] if log.exists() else ''}")
            time.sleep(0.1)
        yield
    finally:
        server.kill()
        server.wait()


def inside() -> int:
    """All cases, in a network namespace of this process."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    wrong = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gregory-nfs-")))
        for subject in ("cached", "late", "between", "before"):
            spec = spec_of(subject)
            finished_training(spec.folder(folder / "models").stages(1), spec, position=0)
            version_of(subject, folder / "models").parent.mkdir()
        stack.enter_context(served(folder))
        machines = [Machine(number=number, folder=folder / f"machine-{number}") for number in (1, 2)]
        for machine in machines:
            stack.enter_context(machine.running())
        for case in CASES:
            sys.stdout.write(f"{case.__doc__}\n")
            for line, holds in case(*machines):
                wrong += not holds
                sys.stdout.write(f"  {'ok   ' if holds else 'WRONG'} {line}\n")
                sys.stdout.flush()
    return 1 if wrong else 0


def main() -> int:
    if os.geteuid() != 0 or not all(Path(program).exists() for program in (LINUX, SERVER, "/usr/sbin/insmod")):
        sys.stderr.write("as root: apt-get install user-mode-linux nfs-ganesha-vfs kmod\n")
        return 2
    return subprocess.run([*ALONE, sys.executable, "-m", "tests.live.nfs", "--inside"], cwd=REPOSITORY, check=False).returncode


def _ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True)


if __name__ == "__main__":
    sys.exit(inside() if "--inside" in sys.argv else main())
