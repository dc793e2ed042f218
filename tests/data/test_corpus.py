"""The corpus: the articles of a subject, their labels, and the number of queries."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from organizations.models import Organization

from gregory.data.corpus import CHUNK, label_counts, labelled, unlabelled, window
from gregory.ml.dataset import Article
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2025, 6, 14, 12, 30, tzinfo=UTC)
UNREVIEWED = object()


@pytest.fixture
def team() -> Team:
    return Team.objects.create(slug="neurology", organization=Organization.objects.create(name="neurology"))


@pytest.fixture
def ms(team: Team) -> Subject:
    return Subject.objects.create(team=team, subject_slug="ms", subject_name="ms")


@pytest.fixture
def als(team: Team) -> Subject:
    return Subject.objects.create(team=team, subject_slug="als", subject_name="als")


def add(number: int, *subjects: Subject, title: str | None = None, summary: str | None = "Words.", discovered: datetime = NOW) -> Articles:
    article = Articles.objects.create(
        article_id=number,
        title=f"Title {number}" if title is None else title,
        link=f"urn:article:{number}",
        summary=summary,
        discovery_date=discovered,
    )
    article.subjects.set(subjects)
    return article


def review(article: Articles, subject: Subject, label: bool | None) -> None:
    ArticleSubjectRelevance.objects.create(article=article, subject=subject, is_relevant=label)


def ids(articles: Iterator[Article]) -> list[int]:
    return [article.article_id for article in articles]


def test_a_review_has_three_states_and_two_of_them_are_labels(ms):
    for number, label in ((1, True), (2, False), (3, None)):
        review(add(number, ms), ms, label)
    add(4, ms)

    assert [(article.article_id, article.label) for article in labelled(ms.pk, None)] == [(1, 1), (2, 0)]
    assert [(article.article_id, article.label) for article in unlabelled(ms.pk, None)] == [(3, None), (4, None)]


def test_title_and_abstract_are_cleaned(ms):
    review(add(1, ms, title="A <i>title</i>&amp;\n more", summary="<p>First.</p>\r\n<p>Second.</p>"), ms, True)
    add(2, ms, title="Another", summary="P&nbsp;&lt; 0.05")
    assert list(labelled(ms.pk, None)) == [Article(article_id=1, title="A title & more", abstract="First. Second.", label=1)]
    assert list(unlabelled(ms.pk, None)) == [Article(article_id=2, title="Another", abstract="P < 0.05", label=None)]


@pytest.mark.parametrize("summary", [None, "", " \r\n", "<p></p>"])
def test_without_an_abstract_the_abstract_is_empty(ms, summary: str | None):
    review(add(1, ms, summary=summary), ms, True)
    add(2, ms, summary=summary)
    assert [article.abstract for article in (*labelled(ms.pk, None), *unlabelled(ms.pk, None))] == ["", ""]


def test_the_cutoff_belongs_to_the_window(ms):
    cutoff = window(90, now=NOW).cutoff
    assert cutoff == NOW - timedelta(days=90)
    for number, discovered in ((1, cutoff - timedelta(microseconds=1)), (2, cutoff), (3, cutoff + timedelta(microseconds=1)), (4, NOW)):
        review(add(number, ms, discovered=discovered), ms, True)
        add(number + 10, ms, discovered=discovered)

    assert ids(labelled(ms.pk, cutoff)) == [2, 3, 4]
    assert ids(unlabelled(ms.pk, cutoff)) == [12, 13, 14]
    assert ids(labelled(ms.pk, None)) == [1, 2, 3, 4]
    assert ids(unlabelled(ms.pk, None)) == [11, 12, 13, 14]


@pytest.mark.parametrize(
    ("days", "cutoff", "description"),
    [
        (90, datetime(2025, 3, 16, 12, 30, tzinfo=UTC), "articles of the last 90 days, discovered since 2025-03-16 12:30 UTC"),
        (1, datetime(2025, 6, 13, 12, 30, tzinfo=UTC), "articles of the last 1 day, discovered since 2025-06-13 12:30 UTC"),
        (36_500, datetime(1925, 7, 9, 12, 30, tzinfo=UTC), "articles of the last 36500 days, discovered since 1925-07-09 12:30 UTC"),
        (None, None, "all articles"),
    ],
)
def test_the_window_has_a_description_and_a_cutoff(days: int | None, cutoff: datetime | None, description: str):
    described = window(days, now=NOW)
    assert (described.cutoff, described.description) == (cutoff, description)


def test_an_article_of_several_subjects_has_the_label_of_the_given_subject(ms, als):
    shared = add(1, als, ms)
    review(shared, als, True)
    review(shared, ms, False)
    assert [article.label for article in labelled(ms.pk, None)] == [0]
    assert [article.label for article in labelled(als.pk, None)] == [1]


def test_a_label_counts_even_if_the_article_is_not_in_the_subject(ms, als):
    review(add(1, als), ms, True)
    review(add(2), ms, False)
    assert [(article.article_id, article.label) for article in labelled(ms.pk, None)] == [(1, 1), (2, 0)]
    assert ids(labelled(als.pk, None)) == []


def test_labels_are_counted_by_subject_and_class_in_one_query(ms, als):
    for number, label, age in ((1, True, 0), (2, False, 0), (3, False, 5), (4, None, 0), (5, True, 9)):
        review(add(number, ms, discovered=NOW - timedelta(days=age)), ms, label)
    review(add(6), als, True)
    with CaptureQueriesContext(connection) as captured:
        assert label_counts([ms.pk, als.pk, 999], None) == {ms.pk: (2, 2), als.pk: (1, 0), 999: (0, 0)}
    assert len(captured) == 1
    assert label_counts([ms.pk], NOW - timedelta(days=5)) == {ms.pk: (1, 2)}


def test_the_pool_contains_only_articles_of_this_subject(ms, als):
    add(1, ms)
    add(2, als)
    add(3)
    add(4, ms, als)
    assert ids(unlabelled(ms.pk, None)) == [1, 4]


def test_a_review_for_another_subject_does_not_remove_an_article_from_the_pool(ms, als):
    # GregoryAI's exclude() across the relation drops such articles.
    review(add(1, ms, als), als, True)
    review(add(2, ms), als, False)
    assert ids(unlabelled(ms.pk, None)) == [1, 2]


def test_an_empty_review_does_not_remove_an_article_from_the_pool(ms, als):
    article = add(1, ms, als)
    review(article, als, True)
    review(article, ms, None)
    assert ids(unlabelled(ms.pk, None)) == [1]
    assert ids(labelled(ms.pk, None)) == []


def test_labelled_articles_and_the_pool_have_no_common_article(ms, als):
    for number, label in ((1, True), (2, False), (3, None)):
        review(add(number, ms, als), ms, label)
        review(add(number + 10, ms, als), als, label)
    assert set(ids(labelled(ms.pk, None))) == {1, 2}
    assert set(ids(unlabelled(ms.pk, None))) == {3, 11, 12, 13}


def test_articles_are_in_order_of_id(ms):
    for number in (30, 10, 20):
        add(number + 1, ms)
        review(add(number, ms, discovered=NOW - timedelta(days=number)), ms, True)
    assert ids(labelled(ms.pk, None)) == [10, 20, 30]
    assert ids(unlabelled(ms.pk, None)) == [11, 21, 31]


def test_more_articles_than_a_chunk_take_one_query_and_are_read_lazily(ms):
    rows = 2 * CHUNK + 7
    articles = Articles.objects.bulk_create(
        Articles(article_id=number, title="T", link=f"urn:{number}") for number in range(1, 2 * rows + 1)
    )
    through = Articles.subjects.through
    through.objects.bulk_create(through(articles=article, subject=ms) for article in articles)
    ArticleSubjectRelevance.objects.bulk_create(
        ArticleSubjectRelevance(article=article, subject=ms, is_relevant=True) for article in articles[:rows]
    )
    for read in (labelled, unlabelled):
        with CaptureQueriesContext(connection) as queries:
            stream = read(ms.pk, None)
            assert len(queries) == 0
            assert len(list(stream)) == rows
        assert len(queries) == 1, [query["sql"] for query in queries]
