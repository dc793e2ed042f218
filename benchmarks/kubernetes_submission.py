"""Submission and reconciliation of many Jobs, compared with a plain loop of create calls for the same Jobs.

    python -m benchmarks.kubernetes_submission [--runs 1000]

It needs root, and uses the tests' own cluster and a separate PostgreSQL server. Both arms use the same client and identity, in this
order: plain, product, plain. During this no node takes the pods, as if every GPU were busy. All runs wait, and the first reconciliation
records the reason. Then a simulated node takes the product's pods and ends each at once. Reconciliations follow until every row has
ended. The table has seconds, and calls by method and resource.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from tabulate import tabulate

from benchmarks import children, ratios
from tools import postgresql
from tools.cluster import cluster, hollow, network
from tools.cluster.namespace import ClusterNamespace, prepared_namespace

if TYPE_CHECKING:
    from gregory.launch.kubernetes.runner import KubernetesRunner
    from gregory.runs.spec import RunSpec

DATABASE = "benchmark"
# No node pulls this image.
IMAGE = "gregory.test/nothing:1"
ROWS, SUBMISSION, FIRST_RECONCILIATION = "rows", "submission", "first reconciliation, which records the reason of each wait"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kubernetes_submission", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    programs = postgresql.binaries()
    assert programs is not None, "a PostgreSQL server is needed"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kubernetes = stack.enter_context(cluster.running(gpus=0))
        server = stack.enter_context(postgresql.running(programs, pods=network.HOST))
        # The plain Jobs are in a namespace of their own, which no list of the product reads, and no node takes their pods.
        product, plain = (_cluster_namespace(stack, kubernetes, folder / name) for name in ("product", "plain"))
        plain.config["nodeSelector"] = {hollow.LABEL: "never"}
        server.create(DATABASE)
        _set_up_django({**server.environment(DATABASE), **_variables(product)})
        _measure(runs, product, plain)


def _cluster_namespace(stack: ExitStack, kubernetes: cluster.Cluster, folder: Path) -> ClusterNamespace:
    folder.mkdir()
    cluster_namespace = stack.enter_context(prepared_namespace(kubernetes, IMAGE, folder))
    cluster_namespace.config |= hollow.PLACEMENT
    # The default is measured.
    del cluster_namespace.config["submission"]
    return cluster_namespace


def _variables(cluster_namespace: ClusterNamespace) -> dict[str, str]:
    return {
        "KUBECONFIG": str(cluster_namespace.cluster.kubeconfig),
        "GREGORY_CLUSTER_CONFIG": str(cluster_namespace.folder / "cluster.yaml"),
    }


def _set_up_django(variables: dict[str, str]) -> None:
    os.environ.update(variables, DJANGO_SETTINGS_MODULE="gregory.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _measure(runs: int, product: ClusterNamespace, plain: ClusterNamespace) -> None:
    from django.db import connection

    specs, same = _planned(runs), _planned(runs)
    runner, without = product.runner(), plain.runner()
    before = _plain_loop(without, specs, plain)
    created = Counter(without.api.calls)
    steps = _Steps(runner)
    _submit(specs, runner, steps)
    _reconcile(runner, steps, FIRST_RECONCILIATION)
    _reconcile(runner, steps, "next reconciliation")
    after = _plain_loop(without, same, plain)
    steps.add("rows, submission and first reconciliation", sum(steps.seconds[name] for name in (ROWS, SUBMISSION, FIRST_RECONCILIATION)))
    with hollow.node(product.cluster):
        _reconcile_all(runner, steps)
    # The server waits until this connection is closed.
    connection.close()
    steps.add("plain loop, before", before, created)
    steps.add("plain loop, after", after, created)
    plain_seconds = mean((before, after))
    for name in (SUBMISSION, FIRST_RECONCILIATION):
        ratios.show(f"wall time, {runs} runs: {name}", [plain_seconds / steps.seconds[name]], baseline="a plain loop of create calls")
    lines = [[name, f"{took:.1f}", f"{took / plain_seconds:.2f}", _counts(steps.calls[name])] for name, took in steps.seconds.items()]
    print(tabulate(lines, headers=["", "seconds", "x plain loop", "calls"], tablefmt="github", disable_numparse=True))


class _Steps:
    """Seconds and calls of each step, by name, in order."""

    def __init__(self, runner: "KubernetesRunner") -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, Counter[str]] = {}
        self._runner = runner

    def add(self, name: str, seconds: float, calls: Counter[str] | None = None) -> None:
        self.seconds[name], self.calls[name] = seconds, calls or Counter()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        self._runner.api.calls.clear()
        began = time.monotonic()
        yield
        self.add(name, time.monotonic() - began, Counter(self._runner.api.calls))


def _planned(runs: int) -> "Sequence[RunSpec]":
    """Plan `runs` runs, one per subject. Missing subjects are created."""
    from django.utils import timezone
    from organizations.models import Organization

    from gregory.ml.config import Hyperparameters
    from gregory.models import Subject, Team
    from gregory.training import planning, request
    from gregory.training.flags import TrainFlags

    team, _ = Team.objects.get_or_create(slug="team", defaults={"organization": Organization.objects.get_or_create(name="o", slug="o")[0]})
    missing = runs - team.subjects.count()
    Subject.objects.bulk_create(Subject(subject_name=f"s{n}", subject_slug=f"s{n}", team=team) for n in range(missing))
    flags = TrainFlags(team="team", all_articles=True, verbose=0)
    wanted = request.from_flags(flags, hyperparameters=Hyperparameters())
    return planning.plan(wanted, models_dir=Path("/nonexistent"), now=timezone.now(), require_gpu=False)


def _plain_loop(runner: "KubernetesRunner", specs: "Sequence[RunSpec]", cluster_namespace: ClusterNamespace) -> float:
    """Seconds of the create calls."""
    from gregory.launch.kubernetes.namespace import Namespace

    jobs = [runner.render(spec).request for spec in specs]
    namespace = Namespace(runner.api, cluster_namespace.namespace)
    runner.api.calls.clear()
    began = time.monotonic()
    for job in jobs:
        namespace.create_job(job)
    return time.monotonic() - began


def _submit(specs: "Sequence[RunSpec]", runner: "KubernetesRunner", steps: _Steps) -> None:
    """Submit the runs as train_models does."""
    from io import StringIO

    from django.core.management.color import no_style

    from gregory.management import concurrent, unstarted
    from gregory.management.console import Console
    from gregory.management.text_stream import TextStream
    from gregory.output import Output
    from gregory.runs import store

    with steps.timed("check"):
        runner.check(specs)
    with steps.timed(ROWS):
        opened = [store.open_run(spec, runner=runner.name, handle=runner.owner_handle(), triggered_by="a benchmark") for spec in specs]
    console = Console(TextStream(Output(StringIO())), no_style(), verbosity=1)
    with steps.timed(SUBMISSION):
        concurrent.submit_all(opened, unstarted.tokens(opened), runner, console)


def _reconcile(runner: "KubernetesRunner", steps: _Steps, name: str) -> None:
    with steps.timed(name):
        actions = _reconciled(runner)
    print(f"{name}: {', '.join(f'{count} {action}' for action, count in actions.items())}")


def _reconcile_all(runner: "KubernetesRunner", steps: _Steps) -> None:
    """Reconcile until every row has ended."""
    from gregory.models import PredictionRunLog

    rounds, rows = 0, PredictionRunLog.objects
    with steps.timed("until every row has ended"):
        while rows.filter(success__isnull=True).exists():
            _reconciled(runner)
            rounds += 1
            time.sleep(1)
    print(f"{rows.filter(success=True).count()} rows succeeded, {rows.filter(success=False).count()} failed; {rounds} reconciliations")


def _reconciled(runner: "KubernetesRunner") -> Counter[str]:
    """Reconcile every unfinished run once, as reconcile_runs does every 15 s. Returns the number of runs by action."""
    from gregory.reconcile.loop import Reconciler

    reconciler = Reconciler(runner_for=lambda name: runner, models_dir=Path("/nonexistent"), stale_after=900)
    return Counter(result.action for result in reconciler.reconcile_once())


def _counts(calls: Counter[str]) -> str:
    return ", ".join(f"{count} {call}" for call, count in sorted(calls.items()))


if __name__ == "__main__":
    children.execute(main)
