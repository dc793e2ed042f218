"""A finished training becomes a version folder and a row that agree."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.ml import artifacts
from gregory.models import PredictionRunLog
from gregory.runs import recovery, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.spec import AlgorithmSpec, RunSpec
from gregory.shutdown import ShutdownRequest
from job.event_log import EventLogger
from job.fence import Superseded
from job.outcome_report import OutcomeReport
from job.publishing import Result, publish_model
from job.supervise import Usage
from job.training import TrainingPipeline as Pipeline
from tests.database_rows import HERE, opened
from tests.fences import taken
from tests.published import finished_training, publish

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def spec(subject) -> RunSpec:
    """A claimed run."""
    spec = opened(subject)
    store.claim(spec, HERE, image_digest="")
    return spec


@pytest.fixture
def pipeline(spec: RunSpec, tmp_path: Path) -> Iterator[Pipeline]:
    with (tmp_path / "log").open("w") as stream:
        report = OutcomeReport(spec, key="1.key", models_dir=tmp_path, termination_log=None)
        log = EventLogger(spec, stream, event_format="text")
        yield Pipeline(spec, log, ShutdownRequest(), report, models_dir=tmp_path, bundle_dir=tmp_path, fence=taken(tmp_path, spec))


def publish_first(pipeline: Pipeline, spec: RunSpec, out: Path, models: Path) -> Result:
    return publish_model(
        spec,
        spec.algorithms[0],
        out,
        models_dir=models,
        usage=Usage(seconds=1.0, peak_bytes=1),
        resources={},
        next_version=pipeline._take_next_version,
        fence=pipeline._fence,
    )


def foreign_model(models: Path, spec: RunSpec, version: str) -> Path:
    """A model of a row that the database has lost."""
    lost = AlgorithmSpec(algorithm="lstm", run_log_id=4711, version=version)
    return publish(models, spec.model_copy(update={"run_id": f"lost{version}", "algorithms": (lost,)}), position=0)


def test_a_model_whose_name_is_taken_gets_the_next_version(spec, pipeline, tmp_path: Path):
    out = finished_training(pipeline.stages_dir, spec, position=0)
    taken = [foreign_model(tmp_path, spec, version) for version in ("20260101", "20260101_2")]
    before = [artifacts.digest(folder) for folder in taken]

    outcome, details = publish_first(pipeline, spec, out, tmp_path)
    store.close_algorithm(spec, outcome, details)

    folder = tmp_path / "team/subject/lstm/20260101_3"
    row = PredictionRunLog.objects.get(algorithm="lstm")
    assert (row.success, row.model_version, row.algorithm_run.artifact_path) == (True, "20260101_3", "team/subject/lstm/20260101_3")
    assert artifacts.read_manifest(folder).provenance.version == "20260101_3"
    assert (artifacts.verify(folder), artifacts.misplaced(folder), row.algorithm_run.artifact_digest) == ([], [], artifacts.digest(folder))
    assert [artifacts.digest(other) for other in taken] == before
    stored = RunSpec.model_validate(TrainingRun.objects.get().spec)
    # A run may not write its specification.
    assert [algorithm.version for algorithm in stored.algorithms] == ["20260101", "20260101"]
    recorded = store.with_recorded_versions(stored)
    assert [algorithm.version for algorithm in recorded.algorithms] == ["20260101_3", "20260101"]
    assert recovery.published(recorded, recorded.algorithms[0], tmp_path) is not None
    event = RunEvent.objects.get()
    cause = f"a folder of version 20260101 exists that is not of row {row.pk}"
    assert (event.kind, event.message) == ("version taken", f"lstm gets version 20260101_3: {cause}")


def test_the_next_version_is_not_that_of_another_row(spec, pipeline, tmp_path: Path):
    out = finished_training(pipeline.stages_dir, spec, position=0)
    foreign_model(tmp_path, spec, "20260101")
    row = PredictionRunLog.objects.get(algorithm="lstm")
    PredictionRunLog.objects.create(
        team_id=row.team_id, subject_id=row.subject_id, algorithm="lstm", run_type="train", model_version="20260101_2", success=False
    )

    assert publish_first(pipeline, spec, out, tmp_path)[0].version == "20260101_3"


def test_a_change_of_the_version_can_be_repeated(spec):
    first = store.take_next_version(spec, spec.algorithms[0], {"20260101"})

    assert store.take_next_version(spec, spec.algorithms[0], {"20260101"}) == first
    assert store.with_recorded_versions(spec).algorithms == (first, spec.algorithms[1])
    assert RunEvent.objects.count() == 1


def test_a_start_that_ended_between_row_and_folder_is_completed(spec, pipeline, tmp_path: Path):
    out = finished_training(pipeline.stages_dir, spec, position=0)
    foreign_model(tmp_path, spec, "20260101")
    store.take_next_version(spec, spec.algorithms[0], {"20260101"})
    second = store.retry(spec, Diagnosis(summary="evicted"), handle=HERE, counts=True)

    outcome, _ = publish_first(pipeline, second, out, tmp_path)

    assert (outcome.version, outcome.artifact) == ("20260101_2", "team/subject/lstm/20260101_2")


def test_a_reconciler_finds_a_model_under_its_next_version(spec, pipeline, tmp_path: Path):
    out = finished_training(pipeline.stages_dir, spec, position=0)
    foreign_model(tmp_path, spec, "20260101")
    publish_first(pipeline, spec, out, tmp_path)
    stored = RunSpec.model_validate(TrainingRun.objects.get().spec)

    still_open = recovery.close_published(stored, models_dir=tmp_path)

    assert still_open == {stored.algorithms[1].run_log_id}
    assert PredictionRunLog.objects.get(algorithm="lstm").success is True


def test_a_superseded_attempt_takes_no_version(spec, pipeline, tmp_path: Path):
    out = finished_training(pipeline.stages_dir, spec, position=0)
    foreign_model(tmp_path, spec, "20260101")
    store.retry(spec, Diagnosis(summary="node lost"), handle=HERE, counts=True)

    with pytest.raises(Superseded):
        publish_first(pipeline, spec, out, tmp_path)

    assert [folder.name for folder in artifacts.version_folders(tmp_path, pytest.fail)] == ["20260101"]
    assert set(PredictionRunLog.objects.values_list("model_version", flat=True)) == {"20260101"}


def test_an_attempt_that_lost_its_node_publishes_nothing_without_the_database(spec, pipeline, tmp_path: Path, monkeypatch):
    """Both attempts have finished the training. The first one does not reach the database, and its database says nothing."""
    out = finished_training(pipeline.stages_dir, spec, position=0)
    second = store.retry(spec, Diagnosis(summary="node lost"), handle=HERE, counts=True)
    taken(tmp_path, second)

    with pytest.raises(Superseded):
        publish_first(pipeline, spec, out, tmp_path)
    with pytest.raises(Superseded):
        pipeline._publish(spec.algorithms[0], out)

    assert (out / "model").is_dir()
    assert list(artifacts.version_folders(tmp_path, pytest.fail)) == []
