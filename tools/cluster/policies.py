"""Network policies enforced on the node: the controller of kube-router, without its router and its proxy of services.

It is built once, from tools/cluster/enforcer. It makes rules of iptables and sets of addresses on this machine, for the addresses of
pods only.
"""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tools.cluster import node
from tools.cluster.binaries import IPTABLES
from tools.cluster.daemon import Daemon
from tools.cluster.network import SERVICES
from tools.docker_engine import CACHE
from tools.go_programs import build_once, go

if TYPE_CHECKING:
    from tools.cluster.cluster import Cluster

NAME, VERSION = "kube-router", "v2.1.0"
SOURCE = Path(__file__).parent / "enforcer"
IPSET = "/usr/sbin/ipset"
REMEDY = "as root: apt-get install ipset iptables; and Go 1.24 or later on the PATH"
# In its log, after each change of its rules.
_SYNCED = "sync iptables took"
_CHAIN = re.compile(r"^:(KUBE-(?:ROUTER|POD-FW|NWPLCY)-\S+)", re.MULTILINE)
_JUMP = re.compile(r"^-A((?: INPUT| FORWARD| OUTPUT) .*-j KUBE-ROUTER-\S+)$", re.MULTILINE)
_SET = re.compile(r"^KUBE-(?:SRC|DST)-\S+$", re.MULTILINE)


def usable() -> bool:
    """Whether this machine has what the controller needs."""
    return Path(IPSET).exists() and (_folder().exists() or shutil.which("go") is not None)


def start(cluster: "Cluster") -> None:
    """Enforce network policies until `stop` or the end of the cluster. Returns when the first rules are there."""
    program = build_once(_folder(), f"{NAME} {VERSION}", _build) / NAME
    argv = [str(program), "-v=1", str(cluster.kubeconfig), node.NAME, str(SERVICES)]
    daemon = Daemon(name=NAME, argv=argv, log=cluster.folder / f"{NAME}.log")
    daemon.ready = lambda: _SYNCED in daemon.log.read_text()
    cluster.add(daemon)


def stop(cluster: "Cluster") -> None:
    """Enforce no policy any more."""
    cluster.daemons.pop(NAME).kill()
    remove()


def remove() -> None:
    """Remove the rules and sets of the controller, whose own clean-up removes none of them."""
    rules = _output(f"{IPTABLES}-save", "-t", "filter")
    chains = _CHAIN.findall(rules)
    lines = [f"-D{jump}" for jump in _JUMP.findall(rules)] + [f"{action} {chain}" for action in ("-F", "-X") for chain in chains]
    # One change. All rules of others stay.
    text = "\n".join(["*filter", *lines, "COMMIT", ""])
    subprocess.run([f"{IPTABLES}-restore", "--wait", "--noflush"], input=text, text=True, check=True)
    end = time.monotonic() + 30
    # The kernel releases the sets of removed rules some time later.
    while any(subprocess.run([IPSET, "destroy", name], capture_output=True).returncode for name in _sets()):
        if time.monotonic() > end:
            raise RuntimeError(f"the address sets {_sets()} stay in use")
        time.sleep(0.1)


def _sets() -> list[str]:
    return _SET.findall(_output(IPSET, "list", "-name"))


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def _folder() -> Path:
    return CACHE / NAME / VERSION


def _build(folder: Path) -> None:
    go("build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", f"{folder / NAME}", ".", folder=SOURCE)
