"""Helpers of the tests that call commands as a shell does."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from gregory.launch import preconditions, processes
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.ml.metrics import NAMES
from gregory.models import PredictionRunLog
from gregory.runs import events, store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.events import Event, Level
from gregory.runs.models import TrainingRun
from gregory.runs.spec import AlgorithmOutcome, RunHandle, RunSpec
from gregory.runs.states import RunState

NOW = datetime(2025, 6, 14, 12, 30, tzinfo=UTC)
DAY = "20250614"
USAGE = "usage: manage.py train_models [-h] [--team SLUG] [--subject SLUG]"
# The name of InstantRunner in RUNNERS.
INSTANT = f"{__name__}:InstantRunner"
MS = ("--team", "neurology", "--subject", "ms")
METRICS = {**{f"{part}_{name}": 0.5 for part in ("val", "test") for name in NAMES}, "prob_threshold": 0.8}
WINDOW = "articles of the last 90 days, discovered since 2025-03-16 12:30 UTC"


class Result(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


Shell = Callable[..., Result]


class InstantRunner:
    """A runner whose runs succeed at once without a training."""

    name = "instant"
    durable = False
    max_parallel = 1
    shares_models_dir = True
    gives_gpu = False
    max_attempts = 1
    stall_seconds = 0

    def __init__(self, installation: Installation) -> None:
        self._bundle_dir = installation.bundle_dir

    def check(self, specs: Sequence[RunSpec]) -> None:
        preconditions.require_bundle(self._bundle_dir, digest="")

    def owner_handle(self) -> RunHandle:
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        return Rendered(spec=spec, request={})

    def submit(self, rendered: Rendered) -> RunHandle:
        return self.owner_handle()

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        return [Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="the run is over", exit_code=0)) for _ in handles]

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        assert store.claim(spec, handle, image_digest="")
        for algorithm in spec.algorithms:
            outcome = AlgorithmOutcome(**algorithm.model_dump(), success=True, metrics=METRICS)
            assert store.close_algorithm(spec, outcome)
            yield "Epoch 1/10: a line of a library"
            yield event(spec, Level.WARNING, "a warning", algorithm.algorithm)
            yield event(spec, Level.PROGRESS, f"Finished version {algorithm.version}", algorithm.algorithm)
        assert store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)

    def log_tail(self, spec: RunSpec) -> str:
        return ""

    def cleanup(self, spec: RunSpec) -> None:
        """Remove nothing."""


def event(spec: RunSpec, level: Level, message: str, algorithm: str) -> str:
    return events.to_json(
        Event(level=level, at="2025-06-14T12:30:00Z", run_id=spec.run_id, subject=spec.label, message=message, algorithm=algorithm)
    )


def rows() -> list[tuple[str, str, str, bool | None]]:
    found = PredictionRunLog.objects.order_by("pk")
    return list(found.values_list("subject__subject_slug", "algorithm", "model_version", "success"))


def plan(run: Shell, *flags: str) -> list[dict[str, Any]]:
    done = run(*flags, "--dry-run", "--output", "json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def assert_nothing_written(models: Path) -> None:
    assert (PredictionRunLog.objects.count(), TrainingRun.objects.count(), models.exists()) == (0, 0, False)
