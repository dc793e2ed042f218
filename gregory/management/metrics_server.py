"""`/metrics` of `reconcile_runs`: the passes of this process, and the figures of the database that its loop read last.

A scrape reads no database. So any number of scrapes costs the database nothing, and a scrape answers while the database is away.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, start_http_server
from prometheus_client.registry import Collector

from gregory.reconcile.results import ReconcileResult
from gregory.reporting.metrics import metrics
from gregory.runs import store
from gregory.runs.store import Measurements

# The database is read at most this often.
MEASURE_SECONDS = 30.0


class Figures(Collector):
    """The figures of the database that this process read last."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._found: Measurements | None = None
        self._measured = -math.inf

    def refresh(self) -> None:
        """Read the figures if they are old. Raises DatabaseError and InterfaceError."""
        if time.monotonic() - self._measured >= MEASURE_SECONDS:
            self._found, self._measured = store.measure(), time.monotonic()

    def forget(self) -> None:
        """Serve no figures until they are read again."""
        self._found, self._measured = None, -math.inf

    def collect(self) -> Iterator[Metric]:
        """The figures; none before they are read."""
        if (found := self._found) is not None:
            yield from metrics(found)


class ReconcilerMetrics:
    """The metrics of one reconciler."""

    def __init__(self) -> None:
        """Everything counts from now on: `seconds since the last pass` too."""
        self.registry = CollectorRegistry()
        self._figures, self._passed = Figures(), time.monotonic()
        self._passes = Counter("gregory_reconcile_passes", "Passes of this reconciler.", ["result"], registry=self.registry)
        for result in ("complete", "database_error"):
            self._passes.labels(result)
        self._results = Counter("gregory_reconcile_results", "Results of single runs.", ["runner", "action"], registry=self.registry)
        self._errors = Counter(
            "gregory_api_errors", "Observations and actions that failed at the API of a back end.", ["runner"], registry=self.registry
        )
        self._duration = Gauge("gregory_reconcile_pass_seconds", "Duration of the last pass.", registry=self.registry)
        since = Gauge("gregory_seconds_since_last_pass", "Time since the last complete pass.", registry=self.registry)
        since.set_function(lambda: time.monotonic() - self._passed)
        self.registry.register(self._figures)

    def passed(self, changes: Sequence[ReconcileResult], *, seconds: float) -> None:
        """Count a complete pass."""
        self._passed = time.monotonic()
        self._passes.labels("complete").inc()
        self._duration.set(seconds)
        for change in changes:
            self._results.labels(change.run.runner, change.action.name.lower()).inc()
            if change.is_unseen:
                self._errors.labels(change.run.runner).inc()

    def refresh(self) -> None:
        """Read the figures of the database if they are old. Raises DatabaseError and InterfaceError."""
        self._figures.refresh()

    def failed(self) -> None:
        """Count a pass that the database ended. The figures are not served until they are read again."""
        self._passes.labels("database_error").inc()
        self._figures.forget()


@contextmanager
def serving(registry: CollectorRegistry, *, host: str, port: int) -> Iterator[int]:
    """Serve a registry in threads, on a port of its own. Yields the port. Raises OSError if the address cannot be used."""
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served_metrics(*, host: str, port: int | None) -> Iterator[ReconcilerMetrics | None]:
    """The metrics of this process while they are served; None without a port. Raises OSError as `serving`."""
    if port is None:
        yield None
        return
    metrics = ReconcilerMetrics()
    with serving(metrics.registry, host=host, port=port):
        yield metrics
