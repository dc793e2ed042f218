"""Stages between attempts: a superseded attempt stops, and a finished stage is not repeated. Plus helper functions."""

import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from django.db import OperationalError

from gregory.ml.progress import Progress, Report
from gregory.ml.stages.contract import SummariseRequest
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.shutdown import ShutdownRequest
from job import stage_runner, supervise
from job.event_log import EventLogger
from job.heartbeats import IdleTime
from job.stage_runner import StageRunner, seconds_left
from job.supervise import StageFailed, Usage
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


def test_a_stage_ends_if_another_program_ended_its_rows(spec, stages, shutdown, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(supervise, "worker_command", lambda stage, folder: [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(store, "heartbeat", lambda specs, **options: None)
    monkeypatch.setattr(stages, "check_for_end", lambda: None)
    monkeypatch.setattr(store, "overriding", lambda spec, algorithms: "another program deleted row 1")
    began = time.monotonic()

    with pytest.raises(StageFailed, match=r"^another program deleted row 1 in stage summarise after ") as failed:
        stages.run("summarise", stages.prepare("summarise"), request(), algorithms=())

    assert time.monotonic() - began < 300
    # The run continues with the trainings whose rows are open.
    assert (failed.value.reason, shutdown.requested) == (Reason.OVERRIDDEN, False)


class TestSilentDatabase:
    """A stage with a real process, while every write of the run waits for an answer."""

    @pytest.fixture
    def answer(self, stages, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
        """The database answers when this is set."""
        answer = threading.Event()
        code = "import json, time; [print(json.dumps({'message': str(number)}), flush=True) for number in range(100)]; time.sleep(600)"
        monkeypatch.setattr(supervise, "worker_command", lambda stage, folder: [sys.executable, "-c", code])
        monkeypatch.setattr(store, "heartbeat", lambda specs, **options: answer.wait(600))
        monkeypatch.setattr(stages, "check_for_end", lambda: None)
        yield answer
        answer.set()

    def test_a_signal_ends_the_stage_at_once(self, stages, shutdown, answer):
        threading.Timer(0.5, shutdown.request, args=["interrupted by signal 15 (SIGTERM)"]).start()
        began = time.monotonic()

        with pytest.raises(StageFailed) as failed:
            stages.run("summarise", stages.prepare("summarise"), request(), algorithms=())

        assert time.monotonic() - began < 300
        assert failed.value.reason is Reason.INTERRUPTED
        assert str(failed.value).startswith("interrupted by signal 15 (SIGTERM) in stage summarise after ")

    def test_an_announced_end_ends_the_stage_after_the_answer(self, stages, shutdown, answer, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(stages, "check_for_end", lambda: shutdown.request("cancelled by me@here"))
        threading.Timer(0.5, answer.set).start()

        with pytest.raises(StageFailed, match=r"^cancelled by me@here in stage summarise after "):
            stages.run("summarise", stages.prepare("summarise"), request(), algorithms=())

    def test_the_first_heartbeat_after_an_outage_has_the_idle_time_of_the_run(self, stages, answer, monkeypatch: pytest.MonkeyPatch):
        """The progress during the outage counts. A repeated message is no progress."""
        now, said = [100.0], []
        is_away, away, back = [True], threading.Event(), threading.Event()

        def heartbeat(specs: object, *, idle: float) -> None:
            said.append(idle)
            if is_away:
                away.set()
                raise OperationalError("connection refused")
            back.set()

        def run_stage(stage: str, folder: Path, *, report: Report, **options: object) -> Usage:
            assert away.wait(300)
            now[0] += 40
            report(Progress(message="epoch 2"))
            now[0] += 20
            report(Progress(message="epoch 2"))
            now[0] += 3
            is_away.clear()
            # The first of them may have read the clock before.
            for _ in range(2):
                back.clear()
                assert back.wait(300)
            return Usage(seconds=1.0, peak_bytes=1)

        monkeypatch.setattr(store, "heartbeat", heartbeat)
        monkeypatch.setattr(stage_runner, "IdleTime", partial(IdleTime, lambda: now[0]))
        monkeypatch.setattr(stage_runner, "HEARTBEAT_SECONDS", 0.1)
        monkeypatch.setattr(stage_runner, "run_stage", run_stage)

        stages.run("summarise", stages.prepare("summarise"), request(), algorithms=())

        assert (said[0], said[-1]) == (0, 23)
