"""The process of a stage: the parts that it uses from an interrupted stage, and those that it must not use."""

import errno
from pathlib import Path

import pytest
from pydantic import BaseModel

from gregory.ml.config import SummariserConfig, TrainConfig
from gregory.ml.manifest import Provenance
from gregory.ml.progress import silent
from gregory.ml.stages import __main__ as process
from gregory.ml.stages.contract import REQUEST, RESULT, SummariseRequest, TrainRequest, kind_of, same_work


def summarise_request(**changes: object) -> SummariseRequest:
    return SummariseRequest.model_validate({"bundle": "/b", "bundle_digest": "d", "threads": 2, "config": SummariserConfig(), **changes})


def train_request(**changes: object) -> TrainRequest:
    provenance = {
        "team": "t",
        "subject": "s",
        "version": "20260101",
        "run_id": "r",
        "attempt": 1,
        "run_log_id": 7,
        "cutoff": None,
        "window": "all articles",
        "image_digest": "",
    }
    of_provenance = {name: changes.pop(name) for name in list(changes) if name in provenance}
    values = {"algorithm": "lstm", "bundle": "/b", "threads": 2, "config": TrainConfig(), "title_only": 0, **changes}
    return TrainRequest.model_validate({**values, "provenance": Provenance.model_validate({**provenance, **of_provenance})})


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "/opt/b"},
        {"threads": 8},
        {"require_gpu": True},
        {"attempt": 2},
        {"image_digest": "i"},
        {"version": "20260101_2"},
        {"run_log_id": 8},
    ],
)
def test_another_machine_attempt_version_or_row_uses_the_result(change: dict[str, object]) -> None:
    assert same_work(train_request(), train_request(**change))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_or_read_only_file_system_is_no_defect_of_the_training(number: int) -> None:
    assert kind_of(OSError(number, "")) == "storage"
    assert kind_of(OSError(errno.ENOENT, "")) == "error"


@pytest.mark.parametrize("change", [{"bundle_digest": "e"}, {"algorithm": "lgbm_tfidf"}, {"config": TrainConfig(prob_threshold=0.5)}])
def test_other_weights_or_settings_are_other_work(change: dict[str, object]) -> None:
    assert not same_work(train_request(), train_request(**change))


class Done(BaseModel):
    """A result."""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a stage that completes one part and fails, or finds the completed part."""
    found: list[list[str]] = []

    def work(source: Path, target: Path, report: object, resume_dir: Path) -> Done:
        found.append(sorted(path.name for path in resume_dir.iterdir() if path.name != REQUEST))
        (resume_dir / "piece").write_text("1")
        if len(found) == 1:
            raise ValueError("broken off")
        return Done()

    monkeypatch.setitem(process.STAGES, "summarise", work)

    def perform(request: SummariseRequest) -> list[list[str]]:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / REQUEST).write_text(request.model_dump_json())
        process.perform("summarise", tmp_path / "in", tmp_path / "out", silent)
        return found

    return perform


def test_the_same_command_finds_the_completed_parts(stage, tmp_path: Path) -> None:
    stage(summarise_request())
    assert (tmp_path / "out.partial" / "error.json").exists()
    assert stage(summarise_request(threads=1)) == [[], ["piece"]]
    assert (tmp_path / "out" / RESULT).exists()


def test_parts_of_other_work_are_deleted(stage) -> None:
    stage(summarise_request())
    assert stage(summarise_request(config=SummariserConfig(batch_size=2))) == [[], []]
