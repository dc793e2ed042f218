"""The log of a run and its verbosity."""

from io import StringIO

import pytest

from gregory.ml.config import TrainConfig
from gregory.ml.progress import Progress
from gregory.runs import events
from gregory.runs.spec import Scope, TrainSpec, Window
from job.event_log import EventLogger


def event_logger(verbosity: int, event_format: str) -> tuple[EventLogger, StringIO]:
    spec = TrainSpec(
        run_id="run", attempt_token="t", team=Scope(id=1, slug="team"), subject=Scope(id=2, slug="subject"), algorithms=(),
        config=TrainConfig(), window=Window(cutoff=None, description="all articles"), verbosity=verbosity,
    )  # fmt: skip
    stream = StringIO()
    return EventLogger(spec, stream, event_format=event_format), stream


@pytest.mark.parametrize(("verbosity", "messages"), [(0, []), (1, ["step"]), (2, ["step", "warning"]), (3, ["step", "warning"])])
def test_levels(verbosity: int, messages: list[str]):
    log, stream = event_logger(verbosity, "json")

    log.info("step")
    log.warn("warning")

    assert [events.from_json(line).message for line in stream.getvalue().splitlines()] == messages


def test_a_text_log_has_few_progress_messages_and_every_warning():
    log, stream = event_logger(2, "text")

    for step in range(50):
        log.progress(Progress(message=f"step {step}", fraction=step / 50), algorithm="lstm", stage="train")
    log.progress(Progress(message="odd", warning=True), algorithm="lstm", stage="train")

    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("team/subject/lstm: [  0%] step 0")
    assert lines[1].endswith("WARNING run team/subject/lstm: odd")


def test_a_json_log_has_every_progress_message():
    log, stream = event_logger(1, "json")

    for step in range(5):
        log.progress(Progress(message=f"step {step}", fraction=step / 5), algorithm="lstm", stage="train")

    assert len(stream.getvalue().splitlines()) == 5
