"""Figures for monitoring, and the names of all metrics with their labels."""

from datetime import UTC, datetime

from gregory.launch.errors import LaunchError
from gregory.management.metrics_server import ReconcilerMetrics
from gregory.reconcile.results import failed
from gregory.reporting import metrics
from gregory.runs.models import TrainingRun
from gregory.runs.store import LastSuccess, Measurements, RunCount
from gregory.web.metrics import PageMetrics

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANY = {"team": "neurology", "subject": "ms", "algorithm": "lstm", "kind": "train"}
STRANGE = {"subject": 'a"b\\c\nд'}
FOUND = Measurements(
    counts=(RunCount(kind="train", state="failed", reason="out_of_memory", runs=2),),
    unknown=3,
    oldest={"pending": 12.5, "submitted": 0.0},
    silence=7.0,
    queue={"train": (30.0, 10.0, 20.0)},
    stages={("train", "summarise", ""): (5.0,), ("train", "train", "lstm"): tuple(float(n) for n in range(11))},
    successes=(LastSuccess(**ANY, success=AT, first=AT), LastSuccess(**ANY | STRANGE, success=None, first=AT)),
    left_out=4,
)


def labels_of_metrics() -> dict[str, set[str]]:
    """The labels of each metric that a reconciler or the operator pages serve, by its name."""
    reconciler, pages = ReconcilerMetrics(), PageMetrics()
    reconciler.passed([failed(TrainingRun(runner="local"), LaunchError("away"))], seconds=1.0)
    pages.answered("index", status=200, seconds=1.0)
    # The figures of the database are below.
    pages.registry.unregister(pages)
    families = [*reconciler.registry.collect(), *pages.registry.collect(), *metrics.metrics(FOUND)]
    samples = [sample for family in families for sample in family.samples]
    return {sample.name: set(sample.labels) for sample in samples if not sample.name.endswith("_created")}
