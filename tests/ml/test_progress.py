"""Progress messages: a stage writes lines, a supervisor reads them."""

import io
import json

import pytest

from gregory.ml.progress import Progress, decode, encode, silent, writer


@pytest.mark.parametrize(
    "progress",
    [
        Progress(message="reading"),
        Progress(message="starting", fraction=0.0),
        Progress(message="half", fraction=0.5),
        Progress(message="done", fraction=1.0),
        Progress(message="epoch", fraction=0.3, epoch=3, figures={"loss": 0.25, "val_loss": 0.5}),
        Progress(message="few positives", warning=True),
        Progress(message="two\nlines\u2028and 漢字"),
        Progress(message=""),
    ],
    ids=lambda progress: repr(progress.message),
)
def test_a_line_is_read_as_it_was_written(progress: Progress) -> None:
    line = encode(progress)
    assert "\n" not in line
    assert decode(line) == progress


def test_fields_without_information_are_left_out() -> None:
    assert encode(Progress(message="reading")) == '{"message": "reading"}'


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), float("-inf")])
def test_a_figure_that_is_not_a_number_is_left_out(figure: float) -> None:
    assert (
        encode(Progress(message="epoch", figures={"loss": figure, "val_loss": 0.5})) == '{"message": "epoch", "figures": {"val_loss": 0.5}}'
    )


def test_fields_of_a_later_version_are_ignored() -> None:
    assert decode('{"message": "reading", "colour": "blue"}') == Progress(message="reading")


@pytest.mark.parametrize("line", ["[1]", "3", "null", "{}", '{"message": 3}', '{"fraction": 0.5}', '"message"'])
def test_json_that_is_not_a_progress_message_is_in_the_error(line: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        decode(line)
    assert str(caught.value) == f"not a progress line: {line!r}"


@pytest.mark.parametrize("line", ["", "Epoch 1/10", '{"message": '])
def test_a_line_that_is_not_json_is_an_error(line: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        decode(line)


def test_long_line_is_cut_in_the_error() -> None:
    line = json.dumps(["x" * 1000])
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared below
        decode(line)
    assert str(caught.value) == f"not a progress line: {line[:200]!r}"


def test_writer_flushes_each_line() -> None:
    class Stream(io.StringIO):
        seen: list[str]

        def flush(self) -> None:
            self.seen = [*getattr(self, "seen", []), self.getvalue()]

    stream = Stream()
    report = writer(stream)
    report(Progress(message="one"))
    report(Progress(message="two"))
    assert stream.seen == ['{"message": "one"}\n', '{"message": "one"}\n{"message": "two"}\n']


def test_silent_writes_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    silent(Progress(message="reading"))
    assert capfd.readouterr() == ("", "")
