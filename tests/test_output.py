"""Output that cannot be written: a full device, a pipe without a reader, a stream that is closed or too narrow."""

import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import IO

import pytest

from gregory.output import Output, counted
from tests.broken_output import broken_output, closed_output
from tools.installation import REPOSITORY


@pytest.fixture(params=["full device", "no reader", "closed stream"])
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IO[str]]:
    with closed_output(tmp_path) if request.param == "closed stream" else broken_output(request.param) as stream:
        yield stream


def test_text_that_cannot_be_written_is_dropped(broken: IO[str]):
    output = Output(broken)

    for _ in range(3):
        output.write("a line\n")
        output.flush()
    output.finish()

    assert isinstance(output.error, OSError | ValueError)


def test_a_character_that_the_encoding_lacks_is_written_as_its_escape_sequence():
    content = BytesIO()
    output = Output(TextIOWrapper(content, encoding="latin-1"))

    output.write("νευρολογία/é\n")
    output.flush()

    assert content.getvalue().decode("latin-1") == r"\u03bd\u03b5\u03c5\u03c1\u03bf\u03bb\u03bf\u03b3\u03af\u03b1/é" + "\n"
    assert output.error is None


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("iso8859-7", "Modèle Ελλάδα\n", "Mod\\xe8le Ελλάδα\n"),
        ("iso8859-2", "Modèle łódź\n", "Mod\\xe8le łódź\n"),
        ("koi8-r", "Modèle модель\n", "Mod\\xe8le модель\n"),
    ],
)
def test_a_character_that_a_table_of_256_lacks_is_escaped_and_the_others_are_kept(encoding: str, text: str, written: str):
    content = BytesIO()
    output = Output(TextIOWrapper(content, encoding=encoding))

    output.write(text)
    output.flush()

    assert (content.getvalue().decode(encoding), output.error) == (written, None)


def test_a_process_without_standard_output_has_no_output():
    output = Output(None)

    output.write("a line\n")
    output.flush()
    output.finish()

    assert not hasattr(output, "isatty")


def no_space(stream: IO[str], text: str) -> None:
    raise OSError(28, "No space left on device")


def test_a_disk_with_space_again_gets_the_next_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stream = (tmp_path / "log").open("w")
    output = Output(stream)
    with monkeypatch.context() as full:
        full.setattr("gregory.output._write", no_space)
        output.write("lost\n")

    output.write("kept\n")
    output.finish()
    stream.close()

    assert (tmp_path / "log").read_text() == "kept\n"


def test_the_buffered_text_of_a_full_disk_does_not_change_the_exit_code():
    code = (
        "import sys; from gregory.output import Output; output = Output(sys.stdout); output.write('a line'); output.finish(); sys.exit(3)"
    )

    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True)

    assert (done.returncode, done.stderr) == (3, "")


def test_a_number_has_its_noun_in_the_right_form():
    assert [counted(number, "problem") for number in (0, 1, 2)] == ["0 problems", "1 problem", "2 problems"]
