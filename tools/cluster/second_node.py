"""A second real node on this machine: containerd and kubelet in a network and a mount namespace of their own.

A process without work holds the namespaces, so they end with it. Its network is a port of the bridge of the pods, and its pods are on
the same bridge. So each of them reaches all pods and the host, until the link is cut.
"""

import shlex
import subprocess
from pathlib import Path

from tools.cluster import cgroups, network, node, pki
from tools.cluster.binaries import IP
from tools.cluster.daemon import Daemon

NAME = "node-2"
LINK = "gregory-node2"
ADDRESS = network.SECOND + 1
GROUP = f"{cgroups.NAME}/{NAME}"
CONTAINERD, KUBELET = f"{NAME} containerd", f"{NAME} kubelet"
# The kubelet has its sockets for devices in a fixed folder, and so does that of the first node.
HOLD = "mkdir -p /var/lib/kubelet; mount -t tmpfs tmpfs /var/lib/kubelet; touch {ready}; exec sleep infinity"
UNSHARE, NSENTER = "/usr/bin/unshare", "/usr/bin/nsenter"


def folder_in(cluster: Path) -> Path:
    """The folder of the node in that of its cluster."""
    return cluster / NAME


def holder(cluster: Path) -> Daemon:
    """The process that holds the namespaces."""
    folder = folder_in(cluster)
    folder.mkdir()
    ready = folder / "ready"
    argv = [UNSHARE, "--net", "--mount", "--propagation", "private", "sh", "-c", HOLD.format(ready=shlex.quote(str(ready)))]
    return Daemon(name=NAME, argv=argv, log=folder / "holder.log", ready=ready.exists)


def inside(pid: int) -> list[str]:
    """The command that runs another one in the namespaces of the holder. It keeps its process id."""
    return [NSENTER, "--target", str(pid), "--net", "--mount"]


def daemons(cluster: Path, programs: Path, pid: int) -> list[Daemon]:
    """containerd and the kubelet. Creates the network, the group, the identity and the configuration of the node. pid: of the holder."""
    folder = folder_in(cluster)
    _connect(pid)
    network.write_cni(folder / "cni", first=ADDRESS + 1, last=network.HOST.network[-2])
    cgroups.create(GROUP)
    pki.create_node(folder / "pki", cluster / "pki", node=NAME, address=ADDRESS)
    containerd, kubelet = node.daemons(
        folder, programs, name=NAME, labels={}, address=ADDRESS, group=GROUP, inside=inside(pid), prefix=f"{NAME} "
    )
    containerd.ready = lambda: node.runtime_answers(folder)
    return [containerd, kubelet]


def cut() -> None:
    """Cut the link. Processes of the node and of its pods reach only each other."""
    _ip("link", "set", LINK, "down")


def connect() -> None:
    """Restore the link."""
    _ip("link", "set", LINK, "up")


def remove_link() -> None:
    """Remove the link, if it exists. The kernel removes it some time after its namespace."""
    subprocess.run([IP, "link", "delete", LINK], capture_output=True, check=False)


def _connect(pid: int) -> None:
    _ip("link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("link", "set", LINK, "master", network.BRIDGE, "up")
    there = [NSENTER, "--target", str(pid), "--net"]
    for command in (
        ("link", "set", "lo", "up"),
        ("link", "add", network.BRIDGE, "address", "0a:58:0a:f4:01:01", "type", "bridge"),
        ("link", "set", "eth0", "master", network.BRIDGE, "up"),
        ("address", "add", f"{ADDRESS}/{network.HOST.network.prefixlen}", "dev", network.BRIDGE),
        ("link", "set", network.BRIDGE, "up"),
        ("route", "add", "default", "via", str(network.HOST.ip)),
    ):
        subprocess.run([*there, IP, *command], check=True)


def _ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True)
