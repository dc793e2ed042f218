"""Events: one line each, for people and for programs."""

import pytest

from gregory.runs import events
from gregory.runs.events import Event, Level

EVENT = Event(
    level=Level.PROGRESS, at="2026-01-02T03:04:05Z", run_id="0123456789ab", subject="team/subject", message="epoch 1/10\r\nloss 0.5",
    algorithm="lstm", stage="train", fraction=0.1,
)  # fmt: skip


def test_a_line_of_text_names_time_level_run_and_what_it_is_about_without_carriage_returns():
    assert events.to_text(EVENT) == "2026-01-02T03:04:05Z INFO 0123456789ab team/subject/lstm: [ 10%] epoch 1/10 loss 0.5"


def test_a_warning_says_so():
    warning = Event(level=Level.WARNING, at="t", run_id="r", subject="team/subject", message="m")

    assert events.to_text(warning) == "t WARNING r team/subject: m"


def test_json_and_back():
    assert events.from_json(events.to_json(EVENT)) == EVENT


@pytest.mark.parametrize("line", ["", "noise", "[]", "{}", '{"level": 1}', '{"level": 9, "at": ""}'])
def test_what_is_no_event_is_refused(line: str):
    with pytest.raises(ValueError):  # noqa: PT011 - json's own message differs
        events.from_json(line)
