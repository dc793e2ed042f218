"""Event lines, for people and for programs."""

from dataclasses import replace

import pytest

from gregory.runs import events
from gregory.runs.events import Event, Level

EVENT = Event(
    level=Level.PROGRESS, at="2026-01-02T03:04:05Z", run_id="0123456789ab", subject="team/subject", message="epoch 1/10\r\nloss 0.5",
    algorithm="lstm", stage="train", fraction=0.1,
)  # fmt: skip


def test_text_line_has_time_level_run_subject_and_no_carriage_return():
    assert events.to_text(EVENT) == "2026-01-02T03:04:05Z INFO 0123456789ab team/subject/lstm: [ 10%] epoch 1/10 loss 0.5"


def test_text_line_of_a_warning_has_its_level():
    warning = Event(level=Level.WARNING, at="t", run_id="r", subject="team/subject", message="m")

    assert events.to_text(warning) == "t WARNING r team/subject: m"


def test_json_line_is_parsed_back():
    assert events.from_json(events.to_json(EVENT)) == EVENT


@pytest.mark.parametrize("line", ["", "noise", "[]", "{}", '{"level": 1}', '{"level": 9, "at": ""}'])
def test_other_json_is_refused(line: str):
    with pytest.raises(ValueError):  # noqa: PT011 - json's own message differs
        events.from_json(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"level": Level.WARNING},
        {"algorithm": "lstm"},
        {"algorithm": "lstm", "tone": "bad"},
        {"fraction": 0.07},
        {"fraction": 1.0, "message": "epoch 1/2: loss 0.5 [of two]"},
        {"subject": "équipe-é/scénario", "message": ": a message that begins oddly"},
    ],
)
def test_text_line_is_parsed_back(changes: dict[str, object]):
    plain = {"message": "said", "algorithm": "", "stage": "", "fraction": None}
    event = replace(EVENT, **{**plain, **changes})

    assert events.parse(events.to_text(event)) == event


def test_text_line_omits_stage_and_good_tone():
    ended = replace(EVENT, message="said", stage="train", tone="good", fraction=None)

    assert events.parse(events.to_text(ended)) == replace(ended, stage="", tone="")


def test_both_forms_are_parsed():
    assert events.parse(events.to_json(EVENT)) == EVENT


@pytest.mark.parametrize("line", ["", "Epoch 1/10", "2026-01-01T00:00:00Z INFO", "2026-01-01T00:00:00Z DEBUG run a/b: said", "{}"])
def test_other_lines_are_refused_in_both_forms(line: str):
    with pytest.raises(ValueError, match=r"^not an event: "):
        events.parse(line)
