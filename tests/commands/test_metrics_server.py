"""`/metrics` of `reconcile_runs`, asked over HTTP as Prometheus does."""

import socket
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from prometheus_client.parser import text_string_to_metric_families

from gregory.launch.errors import LaunchError
from gregory.management import metrics_server
from gregory.management.commands.reconcile_runs import Command
from gregory.management.metrics_server import ReconcilerMetrics, serving
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, failed
from gregory.runs.models import TrainingRun
from gregory.shutdown import ShutdownRequest
from tests.database_rows import opened

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def metrics() -> ReconcilerMetrics:
    return ReconcilerMetrics()


def scraped(metrics: ReconcilerMetrics) -> dict[str, float]:
    """The values by name and labels."""
    with serving(metrics.registry, host="127.0.0.1", port=0) as port, urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {" ".join([one.name, *(f"{name}={value}" for name, value in sorted(one.labels.items()))]): one.value for one in found}


def one_pass(metrics: ReconcilerMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    shutdown = ShutdownRequest()
    monkeypatch.setattr(shutdown, "wait", lambda seconds: shutdown.request("the test has seen enough"))
    Command()._loop(15, shutdown, metrics)


def test_a_pass_is_counted_with_its_results(subject, metrics: ReconcilerMetrics, monkeypatch: pytest.MonkeyPatch):
    run = TrainingRun.objects.get(pk=opened(subject).run_id)
    monkeypatch.setattr(Reconciler, "reconcile_once", lambda self: iter([failed(run, LaunchError("the API does not answer"))]))

    one_pass(metrics, monkeypatch)

    found = scraped(metrics)
    assert found["gregory_reconcile_passes_total result=complete"] == 1
    assert found["gregory_reconcile_passes_total result=database_error"] == 0
    assert found["gregory_reconcile_results_total action=unseen runner=local"] == 1
    assert found["gregory_api_errors_total runner=local"] == 1
    assert found["gregory_runs kind=train reason= state=pending"] == 1
    assert 0 <= found["gregory_reconcile_pass_seconds"] < 60
    assert 0 <= found["gregory_seconds_since_last_pass"] < 60


def test_figures_of_a_database_that_is_away_are_not_served(subject, metrics: ReconcilerMetrics, monkeypatch: pytest.MonkeyPatch):
    def away(reconciler: Reconciler) -> Iterator[ReconcileResult]:
        raise OperationalError("the server is gone")

    metrics.refresh()
    assert "gregory_unknown_runs" in scraped(metrics)
    monkeypatch.setattr(Reconciler, "reconcile_once", away)
    monkeypatch.setattr("gregory.management.commands.reconcile_runs.connection.close", lambda: None)
    monkeypatch.setattr("gregory.management.commands.reconcile_runs.close_connection", lambda: None)

    one_pass(metrics, monkeypatch)

    found = scraped(metrics)
    assert "gregory_unknown_runs" not in found
    assert found["gregory_reconcile_passes_total result=database_error"] == 1


def test_the_database_is_read_only_if_the_figures_are_old(metrics: ReconcilerMetrics, monkeypatch: pytest.MonkeyPatch):
    read = []
    monkeypatch.setattr("gregory.runs.store.measure", lambda: read.append(1))
    metrics.refresh()
    metrics.refresh()
    assert read == [1]

    monkeypatch.setattr(metrics_server, "MEASURE_SECONDS", 0.0)
    metrics.refresh()
    assert read == [1, 1]


def test_a_port_in_use_is_named(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings.METRICS_PORT = taken.getsockname()[1]

        with pytest.raises(CommandError) as refused:
            call_command("reconcile_runs")

    assert str(refused.value).startswith(f"cannot serve the metrics at 127.0.0.1:{settings.METRICS_PORT} (GREGORY_METRICS_PORT): ")
    assert refused.value.returncode == 1
