"""The command line of the cluster. Nothing stays on the machine, also after a kill of the process that started it."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.strict import need
from tools.cluster import binaries, cgroups, network, policies, record, second_node
from tools.cluster.cluster import NODE, end_leftover, the_only_one
from tools.installation import REPOSITORY

pytestmark = pytest.mark.slow

# Interfaces of the CNI have eight digits, those of a Docker engine seven.
OURS = re.compile(rf"veth[0-9a-f]{{8}}|{re.escape(network.BRIDGE)}|{re.escape(second_node.LINK)}")
TABLES = ("filter", "nat", "mangle")
RULES = f"{network.BRIDGE}|{network.CHAIN}|KUBE-"
# Namespaces of the network that other tests make at the same time have other names.
NAMESPACES = "/run/netns"

# A test session of two nodes without an end.
SESSION = """
import time
from tools.cluster.cluster import running
with running(gpus=0) as cluster:
    cluster.add_node()
    print(cluster.kubeconfig, flush=True)
    time.sleep(600)
"""


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tools.cluster", *arguments], cwd=REPOSITORY, capture_output=True, text=True)


def kubectl(kubeconfig: str, *arguments: str) -> str:
    # The cache must end with the cluster.
    place = ["--kubeconfig", kubeconfig, "--cache-dir", f"{kubeconfig}.cache"]
    return subprocess.run([binaries.folder() / "kubectl", *place, *arguments], check=True, capture_output=True, text=True).stdout


def run_a_pod(kubeconfig: str, *, node: str = NODE) -> None:
    """A pod that does not end."""
    placed = f'--overrides={{"spec": {{"nodeName": "{node}"}}}}'
    kubectl(kubeconfig, "run", f"stays-on-{node}", "--image=gregory.test/pause:1", "--image-pull-policy=Never", placed)
    kubectl(kubeconfig, "wait", f"pod/stays-on-{node}", "--for=condition=Ready", "--timeout=300s")


def traces() -> dict[str, object]:
    """All changes by a cluster on this machine, without those by a Docker engine."""
    rules = [subprocess.run([binaries.IPTABLES, "-t", table, "-S"], capture_output=True, text=True).stdout for table in TABLES]
    sets = subprocess.run([policies.IPSET, "list", "-name"], capture_output=True, text=True).stdout.splitlines()
    interfaces = [path for path in Path("/sys/class/net").iterdir() if OURS.fullmatch(path.name)]
    ours = ("gregory-cluster-", str(binaries.folder()), "-m tools.cluster.")
    processes = [
        words
        for process in psutil.process_iter(["cmdline"])
        if any(mark in (words := " ".join(process.info["cmdline"] or [])) for mark in ours)
    ]
    folders = ("/run/containerd/runc/k8s.io", "/var/lib/cni/results", "/var/log/containers", "/var/lib/kubelet")
    return {
        "rules": [line for table in rules for line in table.splitlines() if re.search(RULES, line)],
        "sets": [name for name in sets if name.startswith("KUBE-")],
        "interfaces": [path.name for path in interfaces],
        "processes": processes,
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if "gregory-cluster-" in line],
        "control groups": cgroups.exist(),
        "namespaces": sorted(path.name for path in Path(NAMESPACES).glob("cni-*")),
        "folders": {folder: sorted(path.name for path in Path(folder).glob("*")) for folder in folders},
        "kernel": {name: (record.SETTINGS / name).read_text() for name in (*record.KERNEL, "net/ipv4/ip_forward")},
        "record": record.FILE.exists(),
    }


def settled(expected: dict[str, object], *, seconds: float = 120) -> dict[str, object]:
    """The traces, as soon as they are the expected ones. The kernel removes the interfaces of an ended namespace some time later."""
    end = time.monotonic() + seconds
    while (found := traces()) != expected and time.monotonic() < end:
        time.sleep(0.2)
    return found


@pytest.fixture
def machine_without_cluster() -> Iterator[dict[str, object]]:
    """The state of the machine before the test. The state afterwards must be equal."""
    need(binaries.usable(), what="what a Kubernetes cluster that root may start is made of", remedy=binaries.REMEDY)
    need(policies.usable(), what="a program that enforces network policies", remedy=policies.REMEDY)
    with the_only_one(wait=True):
        binaries.build()
        end_leftover()
        before = traces()
    yield before
    with the_only_one(wait=True):
        if (left := record.load()) is not None:
            record.give_back(left)


def test_up_and_down(machine_without_cluster: dict[str, object]):
    up = command("up", "--wait", "--gpus=3", "--label=pool=gpu", "--policies")
    assert up.returncode == 0, up.stderr
    kubeconfig = up.stdout.partition("export KUBECONFIG=")[2].split()[0]
    run_a_pod(kubeconfig)
    shown = kubectl(kubeconfig, "get", "node", NODE, r"-o=jsonpath={.metadata.labels.pool} {.status.allocatable.nvidia\.com/gpu}")
    sockets = record.shim_sockets(Path(kubeconfig).parents[1])
    again = command("up")
    status = command("status")
    down = command("down")

    assert shown == "gpu 3"
    assert (again.returncode, again.stderr) == (
        1, "a cluster that was started by hand is running on this machine; end it with: make cluster-down\n",
    )  # fmt: skip
    assert [line.split()[:2] for line in status.stdout.splitlines()[1:]] == [
        [name, "process"]
        for name in (
            "etcd", "kube-apiserver", "containerd", "kubelet", "kube-controller-manager", "kube-scheduler", "nvidia.com/gpu", "kube-router",
        )
    ]  # fmt: skip
    assert (down.returncode, down.stdout) == (0, "the cluster is gone\n")
    with the_only_one(wait=True):
        assert settled(machine_without_cluster) == machine_without_cluster
    assert [socket.exists() for socket in sockets] == [False]


def test_remains_of_a_killed_session_are_removed(machine_without_cluster: dict[str, object]):
    with subprocess.Popen([sys.executable, "-c", SESSION], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        kubeconfig = session.stdout.readline().strip()
        run_a_pod(kubeconfig)
        run_a_pod(kubeconfig, node=second_node.NAME)
        refused = command("up")
        session.send_signal(signal.SIGKILL)

    assert (refused.returncode, refused.stderr) == (
        1,
        "a test session on this machine has its own cluster; wait for its end and repeat the command\n",
    )
    with the_only_one(wait=True):
        left = record.load()
        assert left is not None
        assert len(left.alive()) == 9
        assert Path(f"/sys/class/net/{network.BRIDGE}").exists()
        sockets = record.shim_sockets(Path(left.folder))
        assert [socket.exists() for socket in sockets] == [True, True]
        end_leftover()
        assert settled(machine_without_cluster) == machine_without_cluster
        assert [socket.exists() for socket in sockets] == [False, False]
