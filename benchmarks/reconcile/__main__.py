"""One pass of the reconciler over many active runs, of an older release and of this one.

    python -m benchmarks.reconcile [--runs 100 1000 10000] [--before bbf93e9] [--pairs 1]

PostgreSQL is real. A server on loopback answers as the Kubernetes API, with complete objects in pages. The first pass records why each run
waits, and at the next one nothing has changed. Each release reconciles in a process of its own, which has the peak memory. The
processor time is that of this process, without the two servers.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks import ratios as shown
from benchmarks.reconcile import worker
from benchmarks.reconcile.api import NAMESPACE, Cluster, serving
from benchmarks.releases import BEFORE, REPOSITORY, inherited, release
from tools import postgresql

CLUSTER_FILE = f"""
namespace: {NAMESPACE}
image: {{repository: registry.example.org/gregory-train, tag: "0.1.0"}}
volumes: {{models: {{claimName: gregory-models}}}}
database: {{existingSecret: gregory-database, host: postgres.gregory.svc, name: gregory, user: gregory_train}}
"""
PASSES = ("first pass", "next pass", "garbage")


def measure(tree: Path, runs: int, server: postgresql.Server, folder: Path, cluster: Cluster) -> list[dict[str, Any]]:
    """The figures of both passes of a release over so many runs."""
    name = f"runs_{len(list(folder.glob('made-*')))}"
    (folder / f"made-{name}").touch()
    server.create(name)
    variables = {
        **server.environment(name),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "GREGORY_CLUSTER_CONFIG": str(folder / "cluster.yaml"),
    }
    cluster.job, cluster.count = json.loads(step(tree, "plant", runs, variables)), runs
    figures: list[dict[str, Any]] = json.loads(step(tree, "pass", runs, variables))
    return figures


def step(tree: Path, name: str, runs: int, variables: dict[str, str]) -> str:
    """The output of a process of `worker`."""
    command = [sys.executable, worker.__file__, name, str(runs)]
    done = children.run(command, cwd=tree, env=inherited() | variables, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{name} with the code of {tree}: {done.stderr}")
    return done.stdout


def lines(runs: int, name: str, figures: Sequence[list[dict[str, Any]]]) -> list[str]:
    """The lines of a release: one for each pass, with the medians."""
    shown = []
    for number, which in enumerate(PASSES):
        mine = [pair[number] for pair in figures]
        wall, processor, peak = (statistics.median(one[key] for one in mine) for key in ("wall", "processor", "peak"))
        calls, queries = ("; ".join(f"{count} {what}" for what, count in sorted(mine[0][key].items())) for key in ("calls", "queries"))
        shown.append(f"| {runs} | {which} | {name} | {wall:.1f} | {processor:.1f} | {peak / 2**20:.0f} | {calls} | {queries} |")
    return shown


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--before", default=BEFORE, help="commit of the older release; empty: none")
    parser.add_argument("--pairs", type=int, default=1)
    options = parser.parse_args()
    programs = postgresql.binaries()
    if programs is None:
        raise SystemExit("a PostgreSQL server is needed (Debian: postgresql)")
    cluster = Cluster()
    with (
        tempfile.TemporaryDirectory() as temporary,
        serving(cluster) as address,
        postgresql.running(programs) as server,
        release(options.before or "HEAD") as older,
    ):
        folder = Path(temporary)
        (folder / "cluster.yaml").write_text(CLUSTER_FILE)
        kubeconfig = {
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (folder / "kubeconfig").write_text(json.dumps(kubeconfig))
        trees = {options.before: older, "this": REPOSITORY} if options.before else {"this": REPOSITORY}
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {options.pairs} pairs\n")
        print("| runs | work | release | wall, s | processor, s | peak, MiB | calls | queries |\n|---|---|---|---|---|---|---|---|")
        for runs in options.runs:
            found: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in trees}
            for _ in range(options.pairs):
                for name, tree in trees.items():
                    found[name].append(measure(tree, runs, server, folder, cluster))
            for name, figures in found.items():
                print("\n".join(lines(runs, name, figures)), flush=True)
            for number, which in enumerate(PASSES) if len(trees) == 2 else ():
                for key, figure in {"processor": "processor time", "peak": "peak memory"}.items():
                    ratios = [before[number][key] / this[number][key] for before, this in zip(*found.values(), strict=True)]
                    shown.show(f"{figure}, {runs} runs: {which}", ratios, baseline=options.before)
    return 0


if __name__ == "__main__":
    children.execute(main)
