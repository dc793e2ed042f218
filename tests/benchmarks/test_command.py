"""`python -m benchmarks` refuses missing folders and damaged results before the first benchmark, and keeps each result at once."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.children import Stopped
from benchmarks.document import Result, load_results
from benchmarks.registry import BENCHMARKS, Benchmark
from tests.benchmarks.test_registry import RESULT

REMEDY = "Restore the file: git checkout benchmarks/results.json"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A file with one result."""
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"starts": asdict(RESULT)}))
    return file


def refusal(results: Path, *, only_document: bool = False) -> str | None:
    return command.refusal(data=None, model=None, results=results, only_document=only_document)


@pytest.mark.parametrize("option", ["--data", "--model"])
def test_a_missing_folder_is_refused(option: str, tmp_path: Path):
    folder = tmp_path / "absent"
    argv = [sys.executable, "-m", "benchmarks", "--only", "quality", option, str(folder)]

    done = subprocess.run(argv, capture_output=True, text=True)

    told = f"{option} {folder}: there is no such folder. Name an existing one.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_sound_results_are_not_refused(results: Path, tmp_path: Path):
    assert [refusal(results), refusal(results, only_document=True), refusal(tmp_path / "absent.json")] == [None] * 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ("[]", "Input should be an object"),
        (json.dumps({"starts": {**asdict(RESULT), "speed": 1}}), "starts.speed: Unexpected keyword argument"),
        (json.dumps({"starts": {**asdict(RESULT), "ratios": [{}]}}), "starts.ratios.0.figure: Field required"),
    ],
    ids=["no JSON", "no object", "unknown key", "missing key"],
)
def test_damaged_results_are_refused(content: str, told: str, results: Path):
    results.write_text(content)

    assert refusal(results) == f"{results}: {told}. {REMEDY}, or remove it"


def test_without_results_the_document_is_not_written(tmp_path: Path):
    file = tmp_path / "results.json"

    assert refusal(file, only_document=True) == f"{file} is missing. {REMEDY}"


def test_an_interrupt_loses_no_result(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "benchmarks.md"
    results.unlink()

    def execute(benchmark: Benchmark, *rest: object, **folders: object) -> Result:
        if benchmark.module == "summaries":
            raise Stopped(2)
        return RESULT

    monkeypatch.setattr(command, "execute", execute)
    monkeypatch.setattr(command, "RESULTS", results)
    monkeypatch.setattr(command, "DOCUMENT", page)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "starts", "summaries"])

    with pytest.raises(Stopped):
        command.main()

    assert load_results(results) == {"starts": RESULT}
    assert f"## {BENCHMARKS[0].title}" in page.read_text()
