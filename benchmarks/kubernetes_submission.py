"""Many Jobs submitted and reconciled through the product, against a bare loop of create calls of the same Jobs.

    python -m benchmarks.kubernetes_submission [--runs 1000]

On the tests' own cluster, with a node that is not there and ends every pod at once, and on a PostgreSQL server of its own; as root. Both
arms use the same client and identity and take turns: bare, product, bare. Printed are seconds, and calls by method and resource. What the
cluster needs until the Jobs have ended is waited for in both arms: bare, until their conditions say so; product, until every row does.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from tabulate import tabulate

from tests import postgresql
from tests.cluster import cluster, hollow, network
from tests.kubernetes.workplace import Workplace, furnished

if TYPE_CHECKING:
    from gregory.launch.runners.kubernetes import KubernetesRunner
    from gregory.runs.spec import RunSpec

DATABASE = "benchmark"
# Nothing ever pulls it.
IMAGE = "gregory.test/nothing:1"


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
        stack.enter_context(hollow.node(kubernetes))
        # The bare Jobs are in a namespace of their own, where no list of the product's finds them.
        product, bare = (_workplace(stack, kubernetes, folder / name) for name in ("product", "bare"))
        server.create(DATABASE)
        _set_django_up({**server.environment(DATABASE), **_variables(product)})
        _measure(runs, product, bare)


def _workplace(stack: ExitStack, kubernetes: cluster.Cluster, folder: Path) -> Workplace:
    folder.mkdir()
    workplace = stack.enter_context(furnished(kubernetes, IMAGE, folder))
    workplace.config |= hollow.PLACEMENT
    # The default is what is measured.
    del workplace.config["submission"]
    return workplace


def _variables(workplace: Workplace) -> dict[str, str]:
    return {"KUBECONFIG": str(workplace.cluster.kubeconfig), "GREGORY_CLUSTER_CONFIG": str(workplace.folder / "cluster.yaml")}


def _set_django_up(variables: dict[str, str]) -> None:
    os.environ.update(variables, DJANGO_SETTINGS_MODULE="gregory.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _measure(runs: int, product: Workplace, bare: Workplace) -> None:
    from django.db import connection

    specs = _planned(runs)
    runner, without = product.runner(), bare.runner()
    before = _bare_loop(without, specs, bare)
    created = Counter(without.api.calls)
    seconds: dict[str, float] = {}
    calls: dict[str, Counter[str]] = {}
    _product(specs, runner, seconds, calls)
    after = _bare_loop(without, _planned(runs), bare)
    # Or its server waits for it.
    connection.close()
    creating, ended = (mean(pair) for pair in zip(before, after, strict=True))
    for name, took in (("before", before), ("after", after)):
        seconds[f"bare loop, {name}"], seconds[f"the same, until every Job had ended, {name}"] = took
        calls[f"bare loop, {name}"] = created
    lines = [
        [name, f"{took:.1f}", f"{took / creating:.2f}", f"{took / ended:.2f}", _told(calls.get(name))] for name, took in seconds.items()
    ]
    headers = ["", "seconds", "x bare loop", "x bare loop until Jobs had ended", "calls"]
    print(tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True))


def _planned(runs: int) -> "list[RunSpec]":
    """Runs of so many subjects; the subjects are there afterwards."""
    from django.utils import timezone
    from organizations.models import Organization

    from gregory import planning, request
    from gregory.ml.config import Hyperparameters
    from gregory.models import Subject, Team

    team, _ = Team.objects.get_or_create(slug="team", defaults={"organization": Organization.objects.get_or_create(name="o", slug="o")[0]})
    missing = runs - team.subjects.count()
    Subject.objects.bulk_create(Subject(subject_name=f"s{n}", subject_slug=f"s{n}", team=team) for n in range(missing))
    flags = {"team": "team", "subject": None, "all_teams": False, "all_articles": True, "lookback_days": None, "algo": None}
    flags |= {"prob_threshold": None, "model_version": None, "pseudo_label": False, "verbose": 0}
    wanted = request.from_flags(flags, hyperparameters=Hyperparameters())
    return planning.plan(wanted, models_dir=Path("/nonexistent"), now=timezone.now(), require_gpu=False)


def _bare_loop(runner: "KubernetesRunner", specs: "list[RunSpec]", workplace: Workplace) -> tuple[float, float]:
    """Seconds that creating takes, and until what was created has ended."""
    from gregory.launch.kubernetes.namespace import Namespace

    jobs = [runner.render(spec).request for spec in specs]
    namespace = Namespace(runner.api, workplace.namespace)
    runner.api.calls.clear()
    began = time.monotonic()
    for job in jobs:
        namespace.create_job(job)
    took = time.monotonic() - began
    workplace.cluster.until(lambda: _ended(workplace), what="the bare Jobs to have ended", seconds=600)
    return took, time.monotonic() - began


def _ended(workplace: Workplace) -> bool:
    time.sleep(2)
    succeeded = "jsonpath={.items[?(@.status.succeeded!=1)].metadata.name}"
    return not workplace.kubectl("get", "jobs", "--output", succeeded).strip()


def _product(specs: "list[RunSpec]", runner: "KubernetesRunner", seconds: dict[str, float], calls: dict[str, Counter[str]]) -> None:
    """What train_models does with them, step by step; then what reconcile_runs does until every row has its end."""
    from io import StringIO

    from django.core.management.base import OutputWrapper
    from django.core.management.color import no_style

    from gregory.management import side_by_side
    from gregory.management.console import Console
    from gregory.models import PredictionRunLog
    from gregory.reconcile import passes
    from gregory.runs import ledger

    def timed(name: str, began: float) -> None:
        seconds[name] = time.monotonic() - began
        calls[name] = Counter(runner.api.calls)
        runner.api.calls.clear()

    began = time.monotonic()
    runner.check()
    timed("check", began)
    began = time.monotonic()
    opened = [ledger.open_run(spec, runner=runner.name, handle=runner.here(), triggered_by="a benchmark") for spec in specs]
    timed("rows", began)
    console = Console(OutputWrapper(StringIO()), no_style(), verbosity=1)
    began = time.monotonic()
    side_by_side.submit_all(opened, runner, console)
    timed("submission", began)
    seconds["rows and submission"] = seconds["rows"] + seconds["submission"]
    began, looks, looking = time.monotonic(), 0, 0.0
    while PredictionRunLog.objects.filter(success__isnull=True).exists():
        looked = time.monotonic()
        for _ in passes.look(lambda name: runner, models_dir=Path("/nonexistent"), stale_after=900):
            pass
        looks, looking = looks + 1, looking + time.monotonic() - looked
        time.sleep(1)
    timed(f"then, until every row had ended, {looks} looks", began)
    seconds["of these, looking and writing ends"] = looking
    seconds["all, until every row had ended"] = seconds["rows and submission"] + time.monotonic() - began
    rows = PredictionRunLog.objects
    print(f"{rows.filter(success=True).count()} rows succeeded, {rows.filter(success=False).count()} failed")


def _told(calls: Counter[str] | None) -> str:
    return ", ".join(f"{count} {call}" for call, count in sorted((calls or {}).items()))


if __name__ == "__main__":
    main()
