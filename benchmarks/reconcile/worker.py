"""One step in this process, with the code of the current folder: of this release or of an older one.

    python worker.py plant RUNS    writes the runs into an empty database, and prints the Job of the first
    python worker.py pass RUNS     reconciles twice, and prints the figures of both passes

Names of modules that changed since the older release are looked up.
"""

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

# The script is in another folder than the code that it measures.
sys.path[0] = str(Path.cwd())
ALGORITHMS = ("pubmed_bert", "lgbm_tfidf", "lstm")
MODELS = Path("/nonexistent")


@cache
def api() -> Any:
    """The names and states of the runs, from the release of this script."""
    sys.path.insert(0, str(Path(__file__).parent))
    return import_module("api")


def is_older() -> bool:
    """Whether the code is of a release in which the reconciler had other names."""
    return Path("gregory/reconcile/passes.py").exists()


def runner() -> Any:
    """The Kubernetes runner of the variables."""
    return import_module("gregory.management.runners").runner_named("kubernetes")


def specification(number: int, algorithms: int) -> Any:
    """A run of all algorithms with the default configuration."""
    from gregory.ml.config import TrainConfig

    spec = import_module("gregory.runs.spec")
    names, known = api(), getattr(spec, "TrainSpec", spec.RunSpec)
    return known(
        run_id=names.run_id(number),
        attempt_token=names.token(number),
        team=spec.Scope(id=1, slug="neurology"),
        subject=spec.Scope(id=number + 1, slug=f"subject-{number}"),
        algorithms=tuple(
            spec.AlgorithmSpec(algorithm=name, run_log_id=algorithms * number + position + 1, version="20260801")
            for position, name in enumerate(ALGORITHMS)
        ),
        config=TrainConfig(),
        window=spec.Window(cutoff=datetime(2026, 5, 3, tzinfo=UTC), description="the last 90 days"),
    )


def plant(count: int) -> None:
    """Write the runs as the submission and their heartbeats leave them."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from gregory.runs.models import TrainingRun

    names, kubernetes, now = api(), runner(), datetime.now(UTC)
    first = specification(0, len(ALGORITHMS)).model_copy(update={"run_id": names.RUN_ID, "attempt_token": names.TOKEN})
    job = kubernetes.render(first).request
    sys.stdout.write(json.dumps(job))
    begun: dict[str, Any] = {"state": "running", "node": "gpu-node-7.example.org"}
    begun |= {name: now - timedelta(seconds=30) for name in ("started_at", "progress_at")}
    rows = []
    for number in range(count):
        spec = specification(number, len(ALGORITHMS))
        rows.append(
            TrainingRun(
                run_id=spec.run_id,
                subject_id=spec.subject.id,
                runner="kubernetes",
                attempt_token=spec.attempt_token,
                spec=spec.model_dump(mode="json"),
                host=kubernetes._hosts[0],
                external_name=job["metadata"]["name"].replace(names.RUN_ID, spec.run_id),
                external_uid=names.job_uid(number),
                queued_at=now - timedelta(seconds=60),
                submitted_at=now - timedelta(seconds=60),
                heartbeat_at=now,
                **(begun if names.runs(number) else {"state": "submitted"}),
            )
        )
    # On a busy machine, one transaction with all of them would be idle for too long.
    for start in range(0, count, 500):
        TrainingRun.objects.bulk_create(rows[start : start + 500])


def changes(kubernetes: Any) -> Iterable[Any]:
    """The results of one pass."""
    if is_older():
        return import_module("gregory.reconcile.passes").look(lambda name: kubernetes, models_dir=MODELS, stale_after=900)  # type: ignore[no-any-return]
    reconciler = import_module("gregory.reconcile.loop").Reconciler
    return reconciler(runner_for=lambda name: kubernetes, models_dir=MODELS, stale_after=900).reconcile_once()  # type: ignore[no-any-return]


def garbage(kubernetes: Any) -> Iterable[Any]:
    """No results: every Job has an active run."""
    from gregory.runs.models import TrainingRun

    ids = frozenset(TrainingRun.objects.values_list("pk", flat=True))
    if is_older():
        removed = kubernetes.sweep(ids, keep_seconds=3600.0)
    else:
        removed = list(kubernetes.collect_garbage(ids, recent=(), keep_seconds=3600.0, now=datetime.now(UTC)))
    assert removed == []
    return ()


def passes() -> None:
    """Print the figures of two passes and a collection of garbage. The first pass records why each run waits. Then nothing changes."""
    from django.db import connection

    kubernetes, queries = runner(), Counter[str]()

    def counted(execute: Any, sql: str, *rest: Any) -> Any:
        queries[sql.split()[0]] += 1
        return execute(sql, *rest)

    connection.ensure_connection()
    figures = []
    with connection.execute_wrapper(counted):
        for work in (changes, changes, garbage):
            queries.clear()
            kubernetes.api.calls.clear()
            wall, processor, found = time.perf_counter(), time.process_time(), {}
            # As reconcile_runs does.
            for change in work(kubernetes):
                is_shown = is_older() or change.is_new or change.is_delayed
                found[change.run.run_id] = change, str(change) if is_shown else ""
            figures.append(
                {
                    "wall": time.perf_counter() - wall,
                    "processor": time.process_time() - processor,
                    "calls": dict(kubernetes.api.calls),
                    "queries": dict(queries),
                    "actions": Counter(str(change.action) for change, _ in found.values()),
                    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                }
            )
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "gregory.settings"
    import django

    django.setup()
    if sys.argv[1] == "plant":
        plant(int(sys.argv[2]))
    else:
        passes()
