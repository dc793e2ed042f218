"""The demo articles: reproducible, balanced, valid for the tables, neither too easy nor too hard for a classifier."""

import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from gregory.data.demo import EMPTY_ABSTRACTS, DemoArticle, generate
from gregory.ml.config import SplitConfig
from gregory.ml.stratification import enough
from gregory.ml.text import clean, join

TODAY = date(2026, 3, 1)
SUBJECTS = [("neurology", "migraine-prevention"), ("neurology", "multiple-sclerosis-remyelination"), ("public-health", "vaccine-uptake")]
LEADING_WORDS = 60


@pytest.fixture(scope="module")
def articles() -> list[DemoArticle]:
    return generate(TODAY)


def labels(articles: list[DemoArticle], subject: str) -> list[tuple[DemoArticle, bool | None]]:
    return [(article, review.label) for article in articles for review in article.reviews if review.subject == subject]


def test_the_same_day_and_seed_give_the_same_articles(articles):
    assert generate(TODAY) == articles


def test_another_seed_gives_other_articles(articles):
    assert {article.title for article in generate(TODAY, seed=21)} != {article.title for article in articles}


def test_another_day_changes_only_the_dates(articles):
    later = generate(TODAY + timedelta(days=10))
    assert [article.discovery_date - timedelta(days=10) for article in later] == [article.discovery_date for article in articles]
    assert [(article.article_id, article.title, article.abstract, article.reviews) for article in later] == [
        (article.article_id, article.title, article.abstract, article.reviews) for article in articles
    ]


def test_two_teams_and_three_subjects(articles):
    assert sorted({(review.team, review.subject) for article in articles for review in article.reviews}) == SUBJECTS


@pytest.mark.parametrize("subject", [subject for _, subject in SUBJECTS])
def test_each_subject_has_enough_of_both_classes_in_the_window(articles, subject):
    reviewed = [label for _, label in labels(articles, subject) if label is not None]
    assert 110 <= len(reviewed) <= 140
    assert 0.35 <= statistics.mean(reviewed) <= 0.45
    assert 30 <= sum(label is None for _, label in labels(articles, subject)) <= 45
    start = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC) - timedelta(days=90)
    recent = Counter(label for article, label in labels(articles, subject) if article.discovery_date >= start)
    assert recent[True] + recent[False] >= 95
    assert min(recent[True], recent[False]) > 5 * enough(SplitConfig())


def test_no_article_comes_from_the_future_and_some_are_older_than_the_window(articles):
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
    assert max(article.discovery_date for article in articles) <= midnight
    assert 30 <= sum(article.discovery_date < midnight - timedelta(days=90) for article in articles) <= 100


def test_ids_are_consecutive_and_fit_the_column(articles):
    ids = [article.article_id for article in articles]
    assert ids == list(range(1_000_000_001, 1_000_000_001 + len(articles)))
    assert ids[-1] <= 2**31 - 1


def test_titles_are_unique_and_so_are_abstracts(articles):
    assert len({article.title for article in articles}) == len(articles)
    abstracts = [article.abstract for article in articles if article.abstract]
    assert len(set(abstracts)) == len(abstracts)


def test_every_slot_is_filled_and_no_text_contains_a_nul(articles):
    for article in articles:
        assert not set(article.title + article.abstract) & set("{}\0")


def test_some_abstracts_are_missing_and_some_contain_markup(articles):
    empty = sum(not article.abstract for article in articles) / len(articles)
    assert empty == pytest.approx(EMPTY_ABSTRACTS, abs=0.03)
    assert sum("<p>" in article.abstract for article in articles) > 10
    assert sum("&lt;" in article.abstract for article in articles) > 10
    assert sum("\r\n" in article.abstract for article in articles) > 10


def test_an_abstract_has_three_to_seven_sentences():
    for article in generate(TODAY, seed=1):
        if article.abstract:
            assert 3 <= clean(article.abstract).count(". ") + 1 <= 7, article.abstract


def test_a_few_articles_have_different_labels_in_two_subjects(articles):
    shared = [article for article in articles if len(article.reviews) == 2]
    assert 8 <= len(shared) <= 12
    assert all({review.label for review in article.reviews} == {True, False} for article in shared)
    assert any(len({review.team for review in article.reviews}) == 2 for article in shared)


@pytest.mark.parametrize("subject", [subject for _, subject in SUBJECTS])
def test_a_simple_classifier_learns_the_labels_but_not_perfectly(articles, subject):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline

    reviewed = [(article, label) for article, label in labels(articles, subject) if label is not None]
    texts = [join(clean(article.title), " ".join(clean(article.abstract).split()[:LEADING_WORDS])) for article, _ in reviewed]
    scores = cross_val_score(
        make_pipeline(TfidfVectorizer(), LogisticRegression(C=10)),
        texts,
        [label for _, label in reviewed],
        cv=StratifiedKFold(3, shuffle=True, random_state=0),
        scoring="roc_auc",
    )
    # Most articles of another subject are obvious. Some labels are wrong.
    assert 0.85 <= scores.mean() <= 0.99
