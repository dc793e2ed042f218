"""Many Jobs submitted and reconciled through the product, against a bare loop of create calls of the same Jobs.

    python -m benchmarks.kubernetes_submission [--runs 1000]

On the tests' own cluster and on a PostgreSQL server of its own; as root. Both arms use the same client and identity and take turns: bare,
product, bare. No node takes the pods meanwhile, as where every GPU is busy: all runs wait, and the first look at them notes what for. Then
a node that is not there takes the product's and ends each at once, and looks go on until every row has its end. Printed are seconds, and
calls by method and resource.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from tabulate import tabulate

from tools import postgresql
from tools.cluster import cluster, hollow, network
from tools.cluster.namespace import ClusterNamespace, prepared_namespace

if TYPE_CHECKING:
    from gregory.launch.kubernetes.runner import KubernetesRunner
    from gregory.runs.spec import RunSpec

DATABASE = "benchmark"
# Nothing ever pulls it.
IMAGE = "gregory.test/nothing:1"
ROWS, SUBMISSION, FIRST_LOOK = "rows", "submission", "a look, which notes what each waits for"


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
        # The bare Jobs are in a namespace of their own, where no list of the product's finds them, and no node ever takes them.
        product, bare = (_workplace(stack, kubernetes, folder / name) for name in ("product", "bare"))
        bare.config["nodeSelector"] = {hollow.LABEL: "never"}
        server.create(DATABASE)
        _set_django_up({**server.environment(DATABASE), **_variables(product)})
        _measure(runs, product, bare)


def _workplace(stack: ExitStack, kubernetes: cluster.Cluster, folder: Path) -> ClusterNamespace:
    folder.mkdir()
    cluster_namespace = stack.enter_context(prepared_namespace(kubernetes, IMAGE, folder))
    cluster_namespace.config |= hollow.PLACEMENT
    # The default is what is measured.
    del cluster_namespace.config["submission"]
    return cluster_namespace


def _variables(cluster_namespace: ClusterNamespace) -> dict[str, str]:
    return {
        "KUBECONFIG": str(cluster_namespace.cluster.kubeconfig),
        "GREGORY_CLUSTER_CONFIG": str(cluster_namespace.folder / "cluster.yaml"),
    }


def _set_django_up(variables: dict[str, str]) -> None:
    os.environ.update(variables, DJANGO_SETTINGS_MODULE="gregory.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _measure(runs: int, product: ClusterNamespace, bare: ClusterNamespace) -> None:
    from django.db import connection

    specs, same = _planned(runs), _planned(runs)
    runner, without = product.runner(), bare.runner()
    before = _bare_loop(without, specs, bare)
    created = Counter(without.api.calls)
    steps = _Steps(runner)
    _submit(specs, runner, steps)
    _look(runner, steps, FIRST_LOOK)
    _look(runner, steps, "another look")
    after = _bare_loop(without, same, bare)
    steps.add("rows, submission and that look", sum(steps.seconds[name] for name in (ROWS, SUBMISSION, FIRST_LOOK)))
    with hollow.node(product.cluster):
        _follow(runner, steps)
    # Or its server waits for it.
    connection.close()
    steps.add("bare loop, before", before, created)
    steps.add("bare loop, after", after, created)
    bare_seconds = mean((before, after))
    lines = [[name, f"{took:.1f}", f"{took / bare_seconds:.2f}", _told(steps.calls[name])] for name, took in steps.seconds.items()]
    print(tabulate(lines, headers=["", "seconds", "x bare loop", "calls"], tablefmt="github", disable_numparse=True))


class _Steps:
    """Seconds and calls of what was done, by its name, in order."""

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


def _planned(runs: int) -> "list[RunSpec]":
    """Runs of so many subjects; the subjects are there afterwards."""
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


def _bare_loop(runner: "KubernetesRunner", specs: "list[RunSpec]", cluster_namespace: ClusterNamespace) -> float:
    """Seconds that creating takes."""
    from gregory.launch.kubernetes.namespace import Namespace

    jobs = [runner.render(spec).request for spec in specs]
    namespace = Namespace(runner.api, cluster_namespace.namespace)
    runner.api.calls.clear()
    began = time.monotonic()
    for job in jobs:
        namespace.create_job(job)
    return time.monotonic() - began


def _submit(specs: "list[RunSpec]", runner: "KubernetesRunner", steps: _Steps) -> None:
    """What train_models does with them."""
    from io import StringIO

    from django.core.management.base import OutputWrapper
    from django.core.management.color import no_style

    from gregory.management import concurrent
    from gregory.management.console import Console
    from gregory.runs import store

    with steps.timed("check"):
        runner.check()
    with steps.timed(ROWS):
        opened = [store.open_run(spec, runner=runner.name, handle=runner.owner_handle(), triggered_by="a benchmark") for spec in specs]
    console = Console(OutputWrapper(StringIO()), no_style(), verbosity=1)
    with steps.timed(SUBMISSION):
        concurrent.submit_all(opened, runner, console)


def _look(runner: "KubernetesRunner", steps: _Steps, name: str) -> None:
    with steps.timed(name):
        actions = _reconciled(runner)
    print(f"{name}: {', '.join(f'{count} {action}' for action, count in actions.items())}")


def _follow(runner: "KubernetesRunner", steps: _Steps) -> None:
    """Look until every row has its end."""
    from gregory.models import PredictionRunLog

    looks, rows = 0, PredictionRunLog.objects
    with steps.timed("until every row has ended"):
        while rows.filter(success__isnull=True).exists():
            _reconciled(runner)
            looks += 1
            time.sleep(1)
    print(f"{rows.filter(success=True).count()} rows succeeded, {rows.filter(success=False).count()} failed; {looks} looks")


def _reconciled(runner: "KubernetesRunner") -> Counter[str]:
    """One look at every unfinished run, as reconcile_runs does every 15 seconds; how many of them came to what."""
    from gregory.reconcile.loop import Reconciler

    reconciler = Reconciler(runner_for=lambda name: runner, models_dir=Path("/nonexistent"), stale_after=900)
    return Counter(result.action for result in reconciler.reconcile_once())


def _told(calls: Counter[str]) -> str:
    return ", ".join(f"{count} {call}" for call, count in sorted(calls.items()))


if __name__ == "__main__":
    main()
