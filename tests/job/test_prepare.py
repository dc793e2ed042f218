"""The program of the container that makes the folder of a run."""

from pathlib import Path

import pytest

from gregory.runs.spec import RunSpec
from job import prepare
from tests.launch.example_run import example_spec


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSpec:
    """A run whose models folder is that of the test."""
    monkeypatch.setattr(prepare, "MODELS_DIR", tmp_path)
    monkeypatch.setenv("GREGORY_RUN_SPEC", example_spec().model_dump_json())
    return example_spec()


def test_it_makes_the_folder_with_the_work_of_an_older_release(spec: RunSpec, tmp_path: Path):
    (tmp_path / ".runs" / spec.run_id / "stages").mkdir(parents=True)

    assert (prepare.main(), prepare.main()) == (0, 0)

    assert spec.folder(tmp_path).stages().is_dir()


def test_a_refusal_is_one_line_with_its_remedy(spec: RunSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    place = tmp_path / spec.team.slug
    place.touch()

    assert prepare.main() == 1

    assert capsys.readouterr().err == f"{place} is not a folder; move it away\n"


def test_it_needs_a_specification(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("GREGORY_RUN_SPEC", raising=False)

    assert prepare.main() == 2

    assert capsys.readouterr().err == "GREGORY_RUN_SPEC is empty, and a runner sets it: start runs with train_models or predict_articles\n"


@pytest.mark.parametrize(("text", "cause"), [("{", "Invalid JSON: EOF"), ('{"kind": "train"}', "run_id: Field required")])
def test_it_refuses_another_text(text: str, cause: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("GREGORY_RUN_SPEC", text)

    assert prepare.main() == 2

    assert capsys.readouterr().err.startswith(f"GREGORY_RUN_SPEC is not a run specification: {cause}")
