"""A model that was trained and cannot be published is kept, and the next attempt publishes it without a training."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from gregory.ml import artifacts
from gregory.ml.dataset import Article, write_articles
from gregory.ml.stages import contract
from gregory.models import PredictionRunLog, Subject
from gregory.runs import recovery, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec, new_token
from gregory.runs.states import RunState
from gregory.shutdown import ShutdownRequest
from job import stage_runner
from job.event_log import EventLogger
from job.outcome_report import OutcomeReport
from job.supervise import Usage
from job.training import TrainingPipeline as Pipeline
from tests.database_rows import HERE, planned
from tests.fences import taken
from tests.file_systems import ext4, fill, remount
from tests.planted import plant, reseal
from tests.published import complete_model

pytestmark = pytest.mark.django_db

METRICS = {"test_f1": 0.25, "test_roc_auc": 0.5, "prob_threshold": 0.8}


@dataclass(frozen=True)
class Cause:
    """It comes during the training, outside of the run. spoil, mend: change the models folder. The first gets another file system too."""

    spoil: Callable[[Path, Path], object]
    mend: Callable[[Path], object]
    told: str
    mounted: bool = False


def chattr(folder: Path, attributes: str) -> None:
    subprocess.run(["chattr", attributes, folder], check=True)


IN_THE_PLACE = Cause(
    spoil=lambda models, _: (models / "team/subject/lstm").touch(),
    mend=lambda models: (models / "team/subject/lstm").unlink(),
    told="{models}/team/subject/lstm is not a folder; move it away",
)
ANOTHER_FILE_SYSTEM = Cause(
    spoil=lambda models, other: (models / "team/subject/lstm").symlink_to(other),
    mend=lambda models: (models / "team/subject/lstm").unlink(),
    told="the folder {models}/team/subject/lstm cannot take a model: Invalid cross-device link; a model is renamed into it, which is "
    "impossible between two mounts: keep the folder of a subject on one mount, without links to others",
)
FULL = Cause(
    spoil=lambda models, _: fill(models),
    mend=lambda models: (models / "filler").unlink(),
    # The last blocks go to one of the missing folders.
    told=r"the (models )?folder {models}[a-z/]* cannot take a model: No space left on device; free space",
    mounted=True,
)
READ_ONLY = Cause(
    spoil=lambda models, _: remount(models, "ro"),
    mend=lambda models: remount(models, "rw"),
    told="the folder {models}/team/subject cannot take a model: Read-only file system; mount it read-write",
    mounted=True,
)
IMMUTABLE = Cause(
    spoil=lambda models, _: chattr(models / "team/subject", "+i"),
    mend=lambda models: chattr(models / "team/subject", "-i"),
    told="the folder {models}/team/subject cannot take a model: Operation not permitted; "
    r"correct its owner, its permissions or its attributes \(lsattr\)",
    mounted=True,
)
CAUSES = (IN_THE_PLACE, ANOTHER_FILE_SYSTEM, FULL, READ_ONLY, IMMUTABLE)


@pytest.fixture(params=[pytest.param(cause, marks=pytest.mark.root) if cause.mounted else cause for cause in CAUSES])
def cause(request: pytest.FixtureRequest) -> Cause:
    return request.param


@pytest.fixture
def models(cause: Cause, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "models"
    folder.mkdir()
    with ext4(folder) if cause.mounted else nullcontext():
        yield folder


def fill_in(spec: RunSpec, models: Path) -> None:
    """The articles that the first attempt has read."""
    folder = spec.folder(models).stages() / "summarise" / "in"
    folder.mkdir(parents=True)
    articles = [Article(article_id=number, title=f"Title {number}", abstract="", label=number % 2) for number in range(20)]
    write_articles(folder / contract.ARTICLES, articles)


def opened_for_one(subject: Subject, models: Path) -> RunSpec:
    """A run of one algorithm."""
    planned_run = planned(subject)
    alone = planned_run.model_copy(update={"algorithms": planned_run.algorithms[:1]})
    spec = store.open_run(alone, runner="local", handle=HERE, triggered_by="a test")
    fill_in(spec, models)
    return spec


def resumed_after_failure(spec: RunSpec) -> RunSpec:
    store.finish_run(spec, RunState.FAILED, Diagnosis(summary="failed: lstm", reason=store.failure_reason(spec)))
    return store.resume(spec, token=new_token(), handle=HERE, triggered_by="a test", why="", next_version=lambda _: "20260101_2")


def faked_stages(monkeypatch: pytest.MonkeyPatch, spec: RunSpec, *, after_training: Callable[[Path], object]) -> list[str]:
    """Stages that train nothing and leave complete results. Returns the list of their names, in the order of their calls."""
    stages: list[str] = []

    def run_stage(stage: str, folder: Path, **options: object) -> Usage:
        stages.append(stage)
        out = folder / "out"
        if stage == "summarise":
            out.mkdir()
            (out / contract.EXAMPLES).touch()
            (out / contract.RESULT).write_text(contract.SummariseResult(labelled=20, title_only=20, pool=0).model_dump_json())
        else:
            described = complete_model(out / contract.MODEL_FOLDER, spec, position=0)
            result = contract.TrainResult(metrics=METRICS, warnings=(), data=described.data, compute={"device": "cpu"})
            (out / contract.RESULT).write_text(result.model_dump_json())
            after_training(out / contract.MODEL_FOLDER)
        return Usage(seconds=1.0, peak_bytes=1)

    monkeypatch.setattr(stage_runner, "run_stage", run_stage)
    return stages


def run(spec: RunSpec, models: Path, bundle: Path, log: Path) -> None:
    """One attempt in this process."""
    assert store.claim(spec, HERE, image_digest="")
    with log.open("a") as stream:
        report = OutcomeReport(spec, key="1.key", models_dir=models, termination_log=None)
        events = EventLogger(spec, stream, event_format="text")
        Pipeline(spec, events, ShutdownRequest(), report, models_dir=models, bundle_dir=bundle, fence=taken(models, spec)).run()


def test_a_finished_model_is_kept_and_published_by_the_next_attempt(
    subject,
    cause: Cause,
    models: Path,
    other_file_system: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    spec = opened_for_one(subject, models)
    stages = faked_stages(monkeypatch, spec, after_training=lambda _: cause.spoil(models, other_file_system))
    run(spec, models, small_bundle, tmp_path / "log")

    kept = spec.folder(models).stages() / "train-lstm" / "out" / contract.MODEL_FOLDER
    failed = PredictionRunLog.objects.get()
    remedy = f"then: python manage.py train_models --resume {spec.run_id}"
    promise = f"it publishes the trained model, which is kept in {kept}, and trains nothing again"
    assert (failed.success, failed.algorithm_run.reason) == (False, Reason.STORAGE)
    assert re.fullmatch(f"{cause.told.format(models=models)}, {remedy}; {promise}", failed.error_message)
    assert artifacts.verify(kept) == []
    assert list(artifacts.version_folders(models)) == []

    cause.mend(models)
    plant(kept, effect := tmp_path / "effect")
    resumed = resumed_after_failure(spec)
    run(resumed, models, small_bundle, tmp_path / "log")

    assert stages == ["summarise", "train"]
    assert rows() == [(False, "20260101"), (True, "20260101_2")]
    folder = models / "team" / "subject" / "lstm" / "20260101_2"
    assert list(artifacts.version_folders(models)) == [folder]
    assert (artifacts.verify(folder), artifacts.misplaced(folder)) == ([], [])
    assert recovery.published(resumed, resumed.algorithms[0], models) is not None
    # A resumed run reads no pickle.
    assert not effect.exists()


class Killed(BaseException):
    """SIGKILL of the process of the run."""


def test_a_model_that_was_published_for_a_failed_row_is_trained_again(
    subject: Subject, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = opened_for_one(subject, tmp_path)
    stages = faked_stages(monkeypatch, spec, after_training=lambda _: None)

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as killed:
        killed.setattr(Pipeline, "_close", kill)
        with pytest.raises(Killed):
            run(spec, tmp_path, small_bundle, tmp_path / "log")
    store.fail_open_rows(spec, reason=Reason.KILLED, error="killed")
    out = spec.folder(tmp_path).stages() / "train-lstm" / "out"
    assert [path.name for path in out.iterdir()] == [contract.RESULT]

    run(resumed_after_failure(spec), tmp_path, small_bundle, tmp_path / "log")

    assert stages == ["summarise", "train", "train"]
    assert rows() == [(False, "20260101"), (True, "20260101_2")]
    assert [folder.name for folder in sorted(artifacts.version_folders(tmp_path))] == ["20260101", "20260101_2"]


def change_a_byte(model: Path) -> None:
    (model / artifacts.METRICS).write_text('{"test_f1": 0.26}')


def change_only_the_card(model: Path) -> None:
    """As a process that is killed before it has also changed the manifest."""
    (model / artifacts.MODEL_CARD).write_text("of version 20260101_2")


DAMAGE = {
    "changed": (change_a_byte, ["train"]),
    "without a file": (lambda model: (model / artifacts.METRICS).unlink(), ["train"]),
    "without its model card": (lambda model: (model / artifacts.MODEL_CARD).unlink(), ["train"]),
    "with a damaged manifest": (lambda model: (model / artifacts.MANIFEST).write_bytes(b"\xff"), ["train"]),
    "half changed to another version": (change_only_the_card, []),
}


@pytest.mark.parametrize(("damage", "trained"), DAMAGE.values(), ids=DAMAGE)
def test_a_kept_model_is_trained_again_only_if_it_is_damaged(
    subject: Subject,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], object],
    trained: list[str],
):
    spec = opened_for_one(subject, tmp_path)
    in_the_place = tmp_path / "team/subject/lstm"

    def refuse(model: Path) -> None:
        (model / artifacts.MODEL_CARD).write_text("of version 20260101")
        reseal(model)
        in_the_place.touch()

    stages = faked_stages(monkeypatch, spec, after_training=refuse)
    run(spec, tmp_path, small_bundle, tmp_path / "log")
    in_the_place.unlink()
    damage(spec.folder(tmp_path).stages() / "train-lstm" / "out" / contract.MODEL_FOLDER)
    stages = faked_stages(monkeypatch, spec, after_training=lambda _: None)

    run(resumed_after_failure(spec), tmp_path, small_bundle, tmp_path / "log")

    assert stages == trained
    assert rows() == [(False, "20260101"), (True, "20260101_2")]
    (folder,) = artifacts.version_folders(tmp_path)
    assert (folder.name, artifacts.verify(folder)) == ("20260101_2", [])


DEFECTS = {"intact": (lambda model: None, ""), "gone": (shutil.rmtree, "{model}: no manifest.json: not a complete model")}
DEFECTS["changed"] = (change_a_byte, "{model}/metrics.json: changed since training (sha256 differs)")


@pytest.mark.parametrize(("damage", "defect"), DEFECTS.values(), ids=DEFECTS)
def test_an_attempt_of_an_ended_run_publishes_and_never_trains(
    subject: Subject, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object], defect: str
):
    spec = opened_for_one(subject, tmp_path)
    stages = faked_stages(monkeypatch, spec, after_training=lambda _: None)

    def kill(*_: object, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as killed:
        killed.setattr("job.training.publish_model", kill)
        with pytest.raises(Killed):
            run(spec, tmp_path, small_bundle, tmp_path / "log")
    store.announce_end(spec, Diagnosis(summary="cancelled by a test", reason=Reason.CANCELLED))
    damage(spec.folder(tmp_path).stages() / "train-lstm" / "out" / contract.MODEL_FOLDER)
    stages.clear()

    last = store.retry(spec, Diagnosis(summary="cancelled", reason=Reason.CANCELLED), handle=HERE, counts=True, publish_only=True)
    run(last, tmp_path, small_bundle, tmp_path / "log")

    row = PredictionRunLog.objects.get()
    model = spec.folder(tmp_path).stages(2) / "train-lstm" / "out" / contract.MODEL_FOLDER
    cause = f"the model of an earlier attempt cannot be published, and this attempt trains nothing: {defect.format(model=model)}"
    assert (stages, row.success, row.error_message) == ([], not defect, cause if defect else None)
    assert row.algorithm_run.reason == ("artifact" if defect else "")
    store.finish_run(last, RunState.FAILED, Diagnosis(summary="failed", reason=Reason.ARTIFACT))
    if defect:
        assert not resumed_after_failure(last).publish_only


def rows() -> list[tuple[bool, str]]:
    return [(row.success, row.model_version) for row in PredictionRunLog.objects.order_by("pk")]
