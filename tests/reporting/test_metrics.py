"""The metrics in Prometheus' text form, read by the client library's own parser."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gregory.reporting import metrics
from tests.measurements import ANY, AT, FOUND, STRANGE


class Found(Collector):
    def collect(self) -> Iterator[Metric]:
        return metrics.metrics(FOUND)


@pytest.fixture(scope="module")
def samples() -> dict[str, list[tuple[dict[str, str], float]]]:
    """Labels and value of each sample, by its name, as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(Found())
    result: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        assert family.documentation.endswith(".")
        assert family.type == "gauge"
        for sample in family.samples:
            result.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return result


def test_counts_and_ages(samples):
    assert samples["gregory_runs"] == [({"kind": "train", "state": "failed", "reason": "out_of_memory"}, 2)]
    assert samples["gregory_unknown_runs"] == [({}, 3)]
    assert samples["gregory_oldest_queued_seconds"] == [({"state": "pending"}, 12.5), ({"state": "submitted"}, 0)]
    assert samples["gregory_reconcile_lag_seconds"] == [({}, 7)]
    assert samples["gregory_subjects_left_out"] == [({}, 4)]


def test_quantiles_are_measured_values(samples):
    assert samples["gregory_queue_seconds"] == [
        ({"kind": "train", "quantile": quantile}, value) for quantile, value in (("0.5", 20), ("0.9", 30), ("1", 30))
    ]
    own = {"kind": "train", "stage": "train", "algorithm": "lstm"}
    assert [one for one in samples["gregory_stage_seconds"] if one[0]["stage"] == "train"] == [
        (own | {"quantile": quantile}, value) for quantile, value in (("0.5", 5), ("0.9", 9), ("1", 10))
    ]


def test_each_subject_has_one_of_the_two_times_whatever_its_name(samples):
    assert samples["gregory_last_success_timestamp_seconds"] == [(ANY, AT.timestamp())]
    assert samples["gregory_first_attempt_timestamp_seconds"] == [(ANY | STRANGE, AT.timestamp())]
