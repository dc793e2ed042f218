"""Network namespaces of reconcilers and submitter, and packets that are dropped in them or in the namespace of a pod.

Every rule is in a network namespace that the cluster or this module made. Packets of the machine itself are never dropped.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.binaries import IP, IPTABLES
from tools.cluster.network import BRIDGE, FIRST_FREE, HOST, SERVICE

NSENTER = "/usr/bin/nsenter"
PREFIX = "gregory-chaos"
API_SERVER = (str(SERVICE), 443)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network namespace with one address of the bridge of the pods. number: from 0."""

    number: int

    @property
    def name(self) -> str:
        return f"{PREFIX}-{self.number}"

    def create(self) -> None:
        self.remove()
        _ip("netns", "add", self.name)
        _ip("link", "add", self._outer, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self._outer, "master", BRIDGE, "up")
        _ip("-n", self.name, "address", "add", f"{FIRST_FREE + self.number}/{HOST.network.prefixlen}", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self.name, "link", "set", device, "up")
        _ip("-n", self.name, "route", "add", "default", "via", str(HOST.ip))

    @property
    def _outer(self) -> str:
        return f"chaos{self.number}"

    def remove(self) -> None:
        # The kernel removes a device some time after its namespace.
        subprocess.run([IP, "link", "delete", self._outer], capture_output=True)
        subprocess.run([IP, "netns", "delete", self.name], capture_output=True)

    def command(self, argv: list[str]) -> list[str]:
        """The command in this network. It keeps its process id."""
        return [IP, "netns", "exec", self.name, *argv]

    @contextmanager
    def without(self, address: str, port: int) -> Iterator[None]:
        """Drop all packets to and from a server for the block."""
        with _dropped(self.command([]), address, port):
            yield


@contextmanager
def pod_without(pid: int, address: str, port: int) -> Iterator[None]:
    """The same in the network namespace of a process. It need not outlive the block. Raises OSError if the process is gone."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if os.fstat(descriptor).st_ino == Path("/proc/self/ns/net").stat().st_ino:
            raise OSError(f"process {pid} has the network of this machine")
        with _dropped([NSENTER, f"--net=/proc/self/fd/{descriptor}"], address, port, keep=descriptor):
            yield
    finally:
        os.close(descriptor)


@contextmanager
def _dropped(prefix: list[str], address: str, port: int, *, keep: int | None = None) -> Iterator[None]:
    rules = [
        ("OUTPUT", "-p", "tcp", "-d", address, "--dport", str(port), "-j", "DROP"),
        ("INPUT", "-p", "tcp", "-s", address, "--sport", str(port), "-j", "DROP"),
    ]
    kept = () if keep is None else (keep,)
    for chain, *rule in rules:
        subprocess.run([*prefix, IPTABLES, "-w", "-A", chain, *rule], check=True, capture_output=True, pass_fds=kept)
    try:
        yield
    finally:
        for chain, *rule in rules:
            subprocess.run([*prefix, IPTABLES, "-w", "-D", chain, *rule], capture_output=True, pass_fds=kept)


def _ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True, capture_output=True)
