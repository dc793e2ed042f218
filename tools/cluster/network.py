"""The network of the pods: one bridge of this machine. Pods reach each other and the host, and nothing else."""

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cluster.binaries import IP, IPTABLES

BRIDGE = "gregory-k8s0"
HOST = ipaddress.IPv4Interface("10.244.0.1/23")
# Addresses from here to the end of the range are not for pods: tests give them to processes in a network of their own.
FIRST_FREE = HOST.network[240]
# A second node has the upper half of the range for itself and its pods.
SECOND = HOST.network[256]
ADDRESS = "0a:58:0a:f4:00:01"
SERVICES = ipaddress.IPv4Network("10.96.0.0/24")
# The first address of the range belongs to the API server: kubernetes.default.
SERVICE = SERVICES[1]
PORT = 6443
API = f"https://127.0.0.1:{PORT}"
# Pods send packets to the metadata server of a cloud here, and not to the machine. Only tests have a process at this address.
METADATA, METADATA_GATEWAY = ipaddress.IPv4Address("169.254.169.254"), FIRST_FREE + 9
# The rules of kube-proxy for services. Pods of this bridge alone go through it.
CHAIN = "GREGORY-SERVICES"
RULES = (
    # Before the rules of kube-router, which accept what its policies permit.
    ("mangle", "FORWARD", "-i", BRIDGE, "!", "-o", BRIDGE, "-j", "DROP"),
    ("filter", "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT"),
    ("nat", "PREROUTING", "-i", BRIDGE, "-j", CHAIN),
)


def create(folder: Path) -> None:
    """Create the bridge, its rules, and in `folder` the CNI configuration that connects pods to it."""
    # Without its own address the bridge takes that of its lowest port. If that port disappears, pods send to the old address for 30 s.
    _ip("link", "add", BRIDGE, "address", ADDRESS, "type", "bridge")
    _ip("address", "add", str(HOST), "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    # Permits packets from the bridge to loopback. Ends with the bridge.
    Path(f"/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet").write_text("1")
    _iptables("-t", "nat", "-N", CHAIN)
    for table, chain, *rule in RULES:
        _iptables("-t", table, "-I", chain, *rule)
    # From pods only, for packets that the rules lead from the address of a service to a pod. Ends with the bridge.
    Path(f"/proc/sys/net/ipv4/conf/{BRIDGE}/forwarding").write_text("1")
    # The one service that every pod may need. The API server itself listens on loopback alone.
    _iptables(*_redirection("-A", "tcp", (str(SERVICE), 443), ("127.0.0.1", PORT)))
    write_cni(folder, first=HOST.ip + 1, last=FIRST_FREE - 1)


def write_cni(folder: Path, *, first: ipaddress.IPv4Address, last: ipaddress.IPv4Address) -> None:
    """Create `folder` with the CNI configuration that gives pods an address of this range."""
    folder.mkdir()
    (folder / "10-bridge.conflist").write_text(json.dumps(_cni(folder, first, last)))


@contextmanager
def service(address: str, port: int, *, to: tuple[str, int], protocol: str = "tcp") -> Iterator[None]:
    """For the block, pods reach this server at the address of a service, as with kube-proxy."""
    _iptables(*_redirection("-A", protocol, (address, port), to))
    try:
        yield
    finally:
        _iptables(*_redirection("-D", protocol, (address, port), to))


def _redirection(action: str, protocol: str, service: tuple[str, int], to: tuple[str, int]) -> list[str]:
    """The arguments of iptables that add or delete the rule of one port of a service."""
    (address, port), (server, target) = service, to
    at = ["-d", f"{address}/32", "-p", protocol, "--dport", str(port)]
    return ["-t", "nat", action, CHAIN, *at, "-j", "DNAT", "--to-destination", f"{server}:{target}"]


def remove(folder: Path) -> None:
    """Remove both, and the records of pod networks in the cluster's `folder`, as far as they exist."""
    for table, chain, *rule in RULES:
        while subprocess.run([IPTABLES, "-w", "-t", table, "-D", chain, *rule], capture_output=True).returncode == 0:
            pass
    for action in ("-F", "-X"):
        subprocess.run([IPTABLES, "-w", "-t", "nat", action, CHAIN], capture_output=True)
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        _ip("link", "delete", BRIDGE)
    for note in Path("/var/lib/cni/results").glob("*"):
        if f'"{folder}/' in note.read_text():
            note.unlink()


def _cni(folder: Path, first: ipaddress.IPv4Address, last: ipaddress.IPv4Address) -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": BRIDGE,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                # A gateway that the plugin creates would enable forwarding for the whole machine.
                "isGateway": False,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(folder / "addresses"),
                    "ranges": [[{"subnet": str(HOST.network), "gateway": str(HOST.ip), "rangeStart": str(first), "rangeEnd": str(last)}]],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": f"{METADATA}/32", "gw": str(METADATA_GATEWAY)}],
                },
            }
        ],
    }


def _ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True)


def _iptables(*arguments: str) -> None:
    # Waits for the lock of another iptables, for example of a Docker engine.
    subprocess.run([IPTABLES, "-w", *arguments], check=True)
