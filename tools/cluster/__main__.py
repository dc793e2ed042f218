"""The tests' cluster by hand: `python -m tools.cluster up|down|status`."""

import argparse
import sys
import time

from tools.cluster import binaries, policies, record
from tools.cluster.cluster import Cluster, end_leftover, the_only_one

USE = """\
Kubernetes {version}, up in {seconds:.0f} s. In a shell:
  export KUBECONFIG={kubeconfig} KUBECACHEDIR={folder}/kubectl PATH={programs}:$PATH
  kubectl get nodes
  docker save IMAGE | ctr --address {folder}/containerd.sock --namespace k8s.io images import -
Pods reach servers of this machine at {host}. Logs of the daemons: {folder}/*.log. To end it: make cluster-down"""


def up(labels: list[str], gpus: int, *, enforced: bool, second: bool, wait: bool) -> str:
    if not binaries.usable():
        raise RuntimeError(f"this machine lacks what a cluster needs; {binaries.REMEDY}")
    if enforced and not policies.usable():
        raise RuntimeError(f"this machine lacks what network policies need; {policies.REMEDY}")
    with the_only_one(wait=wait):
        end_leftover()
        programs = binaries.build()
        began = time.monotonic()
        cluster = Cluster(programs=programs, by_hand=True)
        try:
            cluster.up(labels=dict(label.split("=", 1) for label in labels), gpus=gpus)
            if enforced:
                policies.start(cluster)
            if second:
                cluster.add_node()
        except BaseException:
            # Also after an interruption: half a cluster is of no use.
            cluster.down()
            raise
    return USE.format(
        version=binaries.version(),
        seconds=time.monotonic() - began,
        kubeconfig=cluster.kubeconfig,
        programs=programs,
        folder=cluster.folder,
        host=cluster.host,
    )


def down() -> str:
    with the_only_one(wait=False):
        if (left := record.load()) is None:
            return "no cluster is running"
        record.give_back(left)
    return "the cluster is gone"


def status() -> str:
    left = record.load()
    if left is None:
        return "no cluster is running"
    alive = left.alive()
    daemons = [f"{name:<26}" + (f"process {alive[name]}" if name in alive else "ended") for name in left.processes]
    return "\n".join([f"KUBECONFIG={left.folder}/pki/admin.kubeconfig", *daemons])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start the cluster")
    start.add_argument("--gpus", type=int, default=2, help="number of nvidia.com/gpu that the node offers")
    start.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the node (repeatable)")
    start.add_argument("--policies", action="store_true", help="enforce network policies, with the controller of kube-router")
    start.add_argument("--wait", action="store_true", help="wait until no test session on this machine has a cluster")
    start.add_argument("--second-node", action="store_true", help="add a node in namespaces of its own; images need a second import")
    commands.add_parser("down", help="end the cluster and restore the machine")
    commands.add_parser("status", help="print its kubeconfig and its daemons")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "up":
                output = up(arguments.label, arguments.gpus, enforced=arguments.policies, second=arguments.second_node, wait=arguments.wait)
            case "down":
                output = down()
            case _:
                output = status()
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
