"""The steps of a run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gregory.ml import text
from gregory.ml.dataset import Article, write_articles
from gregory.ml.errors import ArtifactError, BundleError
from gregory.ml.stages.contract import GpuRequest
from gregory.runs import store
from gregory.runs.models import AlgorithmRun
from gregory.shutdown import ShutdownRequest
from job import stage_runner
from job.event_log import EventLogger
from job.outcome_report import OutcomeReport
from job.supervise import Usage
from job.training import TrainingPipeline as Pipeline
from tests.database_rows import HERE, opened
from tests.fences import taken

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def pipeline(subject, tmp_path: Path) -> Iterator[Pipeline]:
    """The pipeline of a claimed run."""
    spec = opened(subject)
    store.claim(spec, HERE, image_digest="")
    with (tmp_path / "log").open("w") as stream:
        log, report = (
            EventLogger(spec, stream, event_format="text"),
            OutcomeReport(spec, key="1.key", models_dir=tmp_path, termination_log=None),
        )
        yield Pipeline(spec, log, ShutdownRequest(), report, models_dir=tmp_path, bundle_dir=tmp_path, fence=taken(tmp_path, spec))


def block(pipeline: Pipeline, algorithm: str) -> Path:
    """Put a file in the place of the algorithm's folder."""
    place = pipeline._models_dir / "team" / "subject" / algorithm
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    return place


def test_an_algorithm_whose_folder_cannot_be_written_fails_before_the_first_stage(pipeline, monkeypatch: pytest.MonkeyPatch):
    place = block(pipeline, "lstm")
    monkeypatch.setattr(stage_runner, "run_stage", lambda *args, **options: pytest.fail("a stage"))

    with pytest.raises(BundleError):
        # The other algorithm continues, up to the base models that this test does not have.
        pipeline.run()

    lstm, lgbm = AlgorithmRun.objects.order_by("position").values_list("reason", "run_log__success", "run_log__error_message")
    problem = f"nothing was trained, because the model could not be published: {place} is not a folder; move it away"
    assert (lstm, lgbm) == (("storage", False, problem), ("", None, None))


def test_a_run_whose_models_folder_is_not_mounted_ends_before_the_first_stage(pipeline, tmp_path: Path):
    missing = pipeline._models_dir = tmp_path / "volume" / "models"

    pipeline.run()

    found = AlgorithmRun.objects.values_list("reason", "run_log__success", "run_log__error_message")
    problem = f"the models folder {missing} does not exist; mount its volume, or make it once: mkdir -p {missing}"
    assert set(found) == {("storage", False, f"nothing was trained, because the model could not be published: {problem}")}
    assert not missing.parent.exists()


def test_every_attempt_checks_for_a_gpu(pipeline, monkeypatch: pytest.MonkeyPatch):
    checks: list[str] = []

    def run_stage(stage: str, folder: Path, **options: object) -> Usage:
        assert GpuRequest.model_validate_json((folder / "in" / "request.json").read_text()) == GpuRequest()
        checks.append(stage)
        (folder / "out").mkdir()
        (folder / "out" / "result.json").write_text('{"name": "H"}')
        return Usage(seconds=1.0, peak_bytes=1)

    monkeypatch.setattr(stage_runner, "run_stage", run_stage)

    pipeline._find_gpu()
    pipeline._find_gpu()

    assert checks == ["find_gpu", "find_gpu"]


def test_an_attempt_of_another_text_version_is_refused_and_deletes_nothing(pipeline):
    articles = pipeline._stages.prepare("summarise") / "in" / "articles.jsonl"
    write_articles(articles, [Article(article_id=1, title="Title", abstract="", label=1)], version=1)
    before = articles.read_bytes()

    with pytest.raises(ArtifactError, match=f"has text version 1, and not {text.TEXT_VERSION}: resume the run"):
        pipeline._summarise()

    assert articles.read_bytes() == before


def test_the_corpus_is_written_with_the_text_version(pipeline):
    articles = pipeline._stages.prepare("summarise") / "in" / "articles.jsonl"

    pipeline._write_corpus(articles)

    first, *_ = articles.read_text().splitlines()
    assert first == f'{{"text_version": {text.TEXT_VERSION}}}'
