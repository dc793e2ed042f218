"""Stages between attempts: a superseded attempt stops, and a finished stage is not repeated. Plus helper functions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.ml.stages.contract import SummariseRequest
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.shutdown import ShutdownRequest
from job import stage_runner
from job.event_log import EventLogger
from job.stage_runner import StageRunner, seconds_left
from job.supervise import Usage
from tests.database_rows import HERE, opened

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def spec(subject) -> RunSpec:
    """A claimed run."""
    spec = opened(subject)
    store.claim(spec, HERE, image_digest="")
    return spec


@pytest.fixture
def shutdown() -> ShutdownRequest:
    return ShutdownRequest()


@pytest.fixture
def stages(spec: RunSpec, shutdown: ShutdownRequest, tmp_path: Path) -> Iterator[StageRunner]:
    with (tmp_path / "log").open("w") as log:
        yield StageRunner(spec, EventLogger(spec, log, event_format="text"), shutdown, stages_dir=tmp_path / "stages")


def test_the_current_attempt_continues(stages, shutdown):
    stages.check_for_end()

    assert not shutdown.requested


def test_an_attempt_stops_if_its_run_was_ended(spec, stages, shutdown):
    store.end_run(spec, RunState.FAILED, Diagnosis(summary="lost", reason=Reason.LOST))

    stages.check_for_end()

    assert shutdown.reason == "superseded: the run was ended, or resumed in another attempt"


def test_an_attempt_stops_if_its_run_is_being_ended(spec, stages, shutdown):
    store.announce_end(spec, Diagnosis(summary="cancelled by me@here", reason=Reason.CANCELLED), cancelled_by="me@here")

    stages.check_for_end()

    assert shutdown.reason == "cancelled by me@here"


def request(**changes: object) -> SummariseRequest:
    return SummariseRequest.model_validate({"bundle": "/b", "bundle_digest": "d", "threads": 1, "config": {}, **changes})


@pytest.mark.parametrize(("changes", "repeated"), [({"threads": 8, "bundle": "/elsewhere"}, False), ({"bundle_digest": "e"}, True)])
def test_a_finished_stage_is_repeated_only_if_its_result_would_differ(
    stages, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], repeated: bool
):
    executed: list[str] = []

    def run_stage(stage: str, folder: Path, **options: object) -> Usage:
        executed.append(stage)
        (folder / "out").mkdir()
        return Usage(seconds=1.0, peak_bytes=1)

    monkeypatch.setattr(stage_runner, "run_stage", run_stage)
    folder = stages.prepare("summarise")
    stages.run("summarise", folder, request(), algorithms=())

    stages.run("summarise", folder, request(**changes), algorithms=())

    assert executed == ["summarise"] * (1 + repeated)


@pytest.mark.parametrize(("fraction", "left"), [(None, None), (0.0, None), (0.25, 30.0), (1.0, 0.0)])
def test_the_remaining_time_assumes_the_average_speed(fraction: float | None, left: float | None):
    assert seconds_left(fraction, 10.0) == left
