"""The figures of the installation as metrics of Prometheus. Pure. The names and labels are a public interface.

Every value comes from the database, so each process that serves them gives the same. Labels have a limited number of values.
"""

from collections.abc import Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from gregory.runs.store import Measurements

QUANTILES = (0.5, 0.9, 1.0)
_SUBJECT = ("team", "subject", "algorithm", "kind")


def metrics(found: Measurements) -> Iterator[Metric]:
    """The families of one moment."""
    runs = GaugeMetricFamily("gregory_runs", "Runs in the database by state and reason.", labels=("kind", "state", "reason"))
    for count in found.counts:
        runs.add_metric((count.kind, count.state, count.reason), count.runs)
    yield runs
    yield GaugeMetricFamily("gregory_unknown_runs", "Unfinished runs that no runner can observe.", value=found.unknown)
    oldest = GaugeMetricFamily("gregory_oldest_queued_seconds", "Age of the oldest run that has not begun.", labels=("state",))
    for state, seconds in found.oldest.items():
        oldest.add_metric((state,), seconds)
    yield oldest
    yield GaugeMetricFamily(
        "gregory_reconcile_lag_seconds", "Longest time since the last heartbeat of a run that counts as running.", value=found.silence
    )
    queue = GaugeMetricFamily(
        "gregory_queue_seconds", "Time from queueing to the start, of runs that ended in 7 days.", labels=("kind", "quantile")
    )
    for kind, times in sorted(found.queue.items()):
        _add_quantiles(queue, (kind,), times)
    yield queue
    stages = GaugeMetricFamily(
        "gregory_stage_seconds", "Duration of a stage, of runs that ended in 7 days.", labels=("kind", "stage", "algorithm", "quantile")
    )
    for labels, times in sorted(found.stages.items()):
        _add_quantiles(stages, labels, times)
    yield stages
    yield from _successes(found)


def _successes(found: Measurements) -> Iterator[Metric]:
    success = GaugeMetricFamily("gregory_last_success_timestamp_seconds", "Time of the last success.", labels=_SUBJECT)
    never = GaugeMetricFamily(
        "gregory_first_attempt_timestamp_seconds", "Time of the first attempt, if there is no success.", labels=_SUBJECT
    )
    for one in found.successes:
        labels = (one.team, one.subject, one.algorithm, one.kind)
        if one.success is None:
            never.add_metric(labels, one.first.timestamp())
        else:
            success.add_metric(labels, one.success.timestamp())
    yield success
    yield never
    yield GaugeMetricFamily("gregory_subjects_left_out", "Subjects beyond the limit of the two metrics above.", value=found.left_out)


def _add_quantiles(family: GaugeMetricFamily, labels: Sequence[str], times: Sequence[float]) -> None:
    ordered = sorted(times)
    for quantile in QUANTILES:
        family.add_metric((*labels, f"{quantile:g}"), ordered[round(quantile * (len(ordered) - 1))])
