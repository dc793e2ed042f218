"""Steps of a preparation as processes: progress, refusals, and the messages of failed steps."""

import subprocess
import sys
from pathlib import Path

import pytest

from gregory.ml.errors import BundleError
from gregory.ml.preparation import worker
from gregory.ml.progress import Progress, Report, encode, silent
from tools.installation import REPOSITORY


@pytest.fixture
def step_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make every step the given shell script."""

    def become(script: str) -> None:
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return become


def refusal(report: Report = silent) -> str:
    with pytest.raises(BundleError) as caught:
        worker.run("encoder", Path("source"), report=report)
    return str(caught.value)


def test_only_the_progress_of_a_step_is_reported_and_no_output_of_libraries(step_that):
    step_that(f"echo 'Loading weights'\necho '{encode(Progress(message='halfway', fraction=0.5))}'")
    told: list[Progress] = []

    worker.run("encoder", report=told.append)

    assert told == [Progress(message="halfway", fraction=0.5)]


def test_a_refusal_is_the_last_line_of_the_step(step_that):
    step_that("echo 'some warning' >&2; echo 'source holds no BERT' >&2; exit 3")

    assert refusal() == "source holds no BERT"


def test_a_failure_is_named_with_its_exit_code_and_last_line(step_that):
    step_that("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1")

    assert refusal() == "the step encoder ended with exit code 1: OSError: [Errno 28] No space left on device"


def test_a_failure_without_output_is_named(step_that):
    step_that("exit 7")

    assert refusal() == "the step encoder ended with exit code 7: no message"


def test_the_message_of_a_killed_step_names_memory(step_that):
    step_that("kill -9 $$")

    assert refusal() == "the step encoder was killed, probably because memory was full: give this machine more memory"


def test_a_refusal_of_several_lines_becomes_one_line(capsys: pytest.CaptureFixture[str]):
    def refuse(source: Path, *, report: Report) -> None:
        raise BundleError(f"{source} is wrong:\nvery wrong")

    assert worker.step(refuse, ["bert"]) == 3
    assert capsys.readouterr().err == "bert is wrong: / very wrong\n"


def test_a_step_ends_with_its_parent():
    code = """
import sys, time
from gregory.ml.preparation import worker
sys.exit(worker.step(lambda report: time.sleep(600), ["--lifeline"]))
"""
    # No process has the other end of its standard input.
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.DEVNULL, timeout=300, check=False)

    assert done.returncode == 1
