"""Between attempts: the one that was taken for dead gives way, and what it had finished is taken over."""

from pathlib import Path

import pytest

from gregory.ml import text
from gregory.ml.dataset import Article, write_articles
from gregory.ml.errors import ArtifactError
from gregory.ml.stages.contract import GpuRequest, SummariseRequest
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.states import RunState
from job import pipeline
from job.event_log import EventLogger
from job.outcome_report import OutcomeReport
from job.pipeline import Pipeline
from job.shutdown import ShutdownRequest
from job.supervise import Usage
from tests.runs.test_store import HERE, opened, subject  # noqa: F401 - a fixture

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def at_work(subject, tmp_path: Path):  # noqa: F811
    """A claimed run, its pipeline, and what would interrupt it."""
    spec = opened(subject)
    store.claim(spec, HERE, image_digest="")
    interruption = ShutdownRequest()
    with (tmp_path / "log").open("w") as log:
        voice, account = EventLogger(spec, log, event_format="text"), OutcomeReport(spec, models_dir=tmp_path, termination_log=None)
        yield spec, Pipeline(spec, voice, interruption, account, models_dir=tmp_path, bundle_dir=tmp_path), interruption


def test_an_attempt_that_is_current_goes_on(at_work):
    _, line, interruption = at_work

    line._end_if_told_to()

    assert not interruption.requested


def test_an_attempt_whose_run_was_ended_by_others_gives_way(at_work):
    spec, line, interruption = at_work
    store.end_run(spec, RunState.FAILED, Diagnosis(summary="lost", reason=Reason.LOST))

    line._end_if_told_to()

    assert interruption.reason == "superseded: the run was ended, or resumed in another attempt"


def test_an_attempt_that_is_being_ended_gives_way_with_the_reason(at_work):
    spec, line, interruption = at_work
    store.announce_end(spec, Diagnosis(summary="cancelled by me@here", reason=Reason.CANCELLED), cancelled_by="me@here")

    line._end_if_told_to()

    assert interruption.reason == "cancelled by me@here"


def request(**changes: object) -> SummariseRequest:
    return SummariseRequest.model_validate({"bundle": "/b", "bundle_digest": "d", "threads": 1, "config": {}, **changes})


@pytest.mark.parametrize(("changes", "repeated"), [({"threads": 8, "bundle": "/elsewhere"}, False), ({"bundle_digest": "e"}, True)])
def test_a_finished_stage_is_repeated_only_for_other_work(at_work, monkeypatch: pytest.MonkeyPatch, changes, repeated: bool):
    _, line, _ = at_work
    carried_out: list[str] = []

    def run_stage(stage: str, folder: Path, **options: object) -> Usage:
        carried_out.append(stage)
        (folder / "out").mkdir()
        return Usage(seconds=1.0, peak_bytes=1)

    monkeypatch.setattr(pipeline, "run_stage", run_stage)
    folder = line._prepare("summarise")
    line._stage("summarise", folder, request(), about=())

    line._stage("summarise", folder, request(**changes), about=())

    assert carried_out == ["summarise"] * (1 + repeated)


def test_the_gpu_is_looked_for_in_every_attempt(at_work, monkeypatch: pytest.MonkeyPatch):
    _, line, _ = at_work
    looked: list[str] = []

    def run_stage(stage: str, folder: Path, **options: object) -> Usage:
        assert GpuRequest.model_validate_json((folder / "in" / "request.json").read_text()) == GpuRequest()
        looked.append(stage)
        (folder / "out").mkdir()
        (folder / "out" / "result.json").write_text('{"name": "H"}')
        return Usage(seconds=1.0, peak_bytes=1)

    monkeypatch.setattr(pipeline, "run_stage", run_stage)

    line._find_gpu()
    line._find_gpu()

    assert looked == ["find_gpu", "find_gpu"]


def test_an_attempt_of_another_text_version_is_refused_and_deletes_nothing(at_work, monkeypatch: pytest.MonkeyPatch):
    _, line, _ = at_work
    articles = line._prepare("summarise") / "in" / "articles.jsonl"
    write_articles(articles, [Article(article_id=1, title="Title", abstract="", label=1)])
    before = articles.read_bytes()
    written = text.TEXT_VERSION
    monkeypatch.setattr(text, "TEXT_VERSION", written + 1)

    with pytest.raises(ArtifactError, match=f"has text version {written}, this release has text version {written + 1}: resume the run"):
        line._summarise()

    assert articles.read_bytes() == before


def test_the_corpus_is_written_with_the_text_version(at_work):
    _, line, _ = at_work

    line._write_corpus(line._prepare("summarise") / "in" / "articles.jsonl")

    first, *_ = (line.stages_dir / "summarise" / "in" / "articles.jsonl").read_text().splitlines()
    assert first == f'{{"text_version": {text.TEXT_VERSION}}}'
