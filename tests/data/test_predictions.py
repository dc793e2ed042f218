"""Predictions: the articles that lack one, and the batches that are written."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from gregory.data import predictions
from gregory.ml.dataset import Prediction
from gregory.models import Articles, MLPredictions, Subject
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.spec import PredictSpec, Window
from gregory.runs.states import RunState
from tests.database_rows import HERE, prediction

pytestmark = [pytest.mark.django_db, pytest.mark.database]

EVERY = Window(cutoff=None, description="all articles")
NOW = datetime(2025, 6, 14, 12, 30, tzinfo=UTC)
LGBM = {"lgbm_tfidf": "20260101"}


@pytest.fixture
def spec(subject: Subject) -> PredictSpec:
    planned = prediction(subject.pk, team_id=subject.team_id)
    opened = store.open_run(planned, runner="local", handle=HERE, triggered_by="a test")
    assert isinstance(opened, PredictSpec)
    return opened


def add(subject: Subject, number: int, *, title: str = "Title", summary: str | None = "Words.", discovered: datetime = NOW) -> None:
    article = Articles.objects.create(article_id=number, title=title, summary=summary, link=f"urn:{number}", discovery_date=discovered)
    article.subjects.add(subject)


def waiting(subject: Subject, window: Window = EVERY, versions: dict[str, str] = LGBM, *, skip: bool = False) -> list[int]:
    return [article.article_id for article in predictions.waiting(subject.pk, window, versions, skip_without_summary=skip)]


def made(*ids: int) -> Sequence[Prediction]:
    return [Prediction(article_id=number, probability=number / 10) for number in ids]


def write(spec: PredictSpec, *ids: int) -> predictions.Written | None:
    return predictions.write(spec, spec.algorithms[0], made(*ids), threshold=0.3)


def test_the_window_begins_with_a_day(subject):
    window = predictions.window(90, now=NOW)
    add(subject, 1, discovered=datetime(2025, 3, 16, 0, 0, tzinfo=UTC))
    add(subject, 2, discovered=datetime(2025, 3, 15, 23, 59, tzinfo=UTC))

    assert window.description == "articles of the last 90 days, discovered since 2025-03-16 UTC"
    assert waiting(subject, window) == [1]
    assert waiting(subject) == [1, 2]


@pytest.mark.parametrize(("version", "abstract"), [(1, "Drugs. 2021 Jun 4. ABSTRACT Words."), (2, "Words.")])
def test_the_texts_have_the_text_version_of_the_model(subject, version: int, abstract: str):
    add(subject, 1, summary="Drugs. 2021 Jun 4. ABSTRACT Words.")

    (article,) = predictions.waiting(subject.pk, EVERY, LGBM, skip_without_summary=False, text_version=version)

    assert article.abstract == abstract


def test_an_article_without_a_summary_is_predicted_unless_it_is_skipped(subject):
    add(subject, 1, summary=None)
    add(subject, 2, summary="")
    add(subject, 3)

    assert (waiting(subject), waiting(subject, skip=True)) == ([1, 2, 3], [3])


def test_an_article_without_words_is_left_out(subject):
    add(subject, 1, title=" ", summary="<p></p>")

    assert waiting(subject) == []


def test_an_article_waits_until_each_version_has_predicted_it(subject, spec):
    add(subject, 1)
    add(subject, 2)
    both = {**LGBM, "lstm": "20260101"}

    write(spec, 1)

    counts = predictions.count_waiting(subject.pk, EVERY, both, skip_without_summary=False)
    assert counts == {"lgbm_tfidf": 1, "lstm": 2}
    assert (waiting(subject), waiting(subject, versions=both)) == ([2], [1, 2])
    assert waiting(subject, versions={"lgbm_tfidf": "20260102"}) == [1, 2]
    assert predictions.predicted_ids(subject.pk, "lgbm_tfidf", "20260101") == {1}


def test_a_batch_is_written_once(subject, spec):
    add(subject, 2)
    add(subject, 3)

    first, second = write(spec, 2), write(spec, 2, 3)

    assert (first, second) == (predictions.Written(new=1, gone=0), predictions.Written(new=1, gone=0))
    rows = MLPredictions.objects.order_by("article_id").values_list("article_id", "subject_id", "probability_score", "predicted_relevant")
    assert list(rows) == [(2, subject.pk, 0.2, False), (3, subject.pk, 0.3, True)]
    # These tables have no column for the algorithm.
    assert set(MLPredictions.objects.values_list("model_version", flat=True)) == {"lgbm_tfidf 20260101"}


def test_an_article_that_was_deleted_meanwhile_gets_no_prediction(subject, spec):
    add(subject, 2)

    assert write(spec, 1, 2) == predictions.Written(new=1, gone=1)
    assert list(MLPredictions.objects.values_list("article_id", flat=True)) == [2]


def test_a_superseded_attempt_writes_nothing(subject, spec):
    add(subject, 1)

    assert write(spec.model_copy(update={"attempt_token": "earlier"}), 1) is None
    assert MLPredictions.objects.count() == 0


def test_an_attempt_of_an_ended_run_writes_nothing(subject, spec):
    add(subject, 1)
    store.finish_run(spec, RunState.CANCELLED, Diagnosis(summary="cancelled"))

    assert write(spec, 1) is None
    assert MLPredictions.objects.count() == 0
