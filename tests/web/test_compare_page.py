"""The comparison of two versions: the same articles, those trained on left out, the conclusion, and the articles that flip."""

import re
from pathlib import Path

import pytest
from django.urls import reverse

from gregory.models import Articles
from gregory.web import compare_page
from tests.published import answering_model
from tests.web.conftest import Tenant

pytestmark = pytest.mark.django_db
GOOD, BAD, WRONG_ONCE = "lgbm_tfidf/20260101", "lgbm_tfidf/20260102", "lgbm_tfidf/20260103"


@pytest.fixture
def folder(ours: Tenant, models_dir: Path) -> Path:
    """The first version is always right, the second never, and the third only about article 40."""
    folder = models_dir / "ours" / "ours-subject" / "lgbm_tfidf"
    answering_model(folder, "20260101", lambda number: 0.1 if number % 2 else 0.9)
    answering_model(folder, "20260102", lambda number: 0.9 if number % 2 else 0.1)
    answering_model(folder, "20260103", lambda number: 0.1 if number % 2 or number == 40 else 0.9)
    return folder


def compared(tenant: Tenant, first: str = "", second: str = "") -> str:
    """The text of the page without markup."""
    answer = tenant.client.get(reverse("admin:compare", args=[tenant.subject.pk]), {"first": first, "second": second})
    assert answer.status_code == 200
    content = answer.content.decode().partition('id="content-main"')[2]
    return " ".join(re.sub(r"<[^>]*>", " ", content.partition(">")[2]).split())


def test_the_page_says_which_version_is_better_on_how_many_articles_and_which_flip(ours: Tenant, folder: Path):
    flipped = Articles.objects.create(pk=40, title="A <flipped> article", link="urn:40")
    flipped.subjects.add(ours.subject)
    Articles.objects.create(pk=41, title="An article of another subject", link="urn:41")

    text = compared(ours, GOOD, BAD)

    assert f"{BAD} is worse than {GOOD}." in text
    assert "Compared: 20 relevant and 20 not relevant articles. Left out: 40 from which a model has learned." in text
    assert "ROC AUC 1.000 0.000 -1.000 (-1.000 to -1.000)" in text
    assert "Articles that only one of them selects: 40" in text
    assert "40 A &lt;flipped&gt; article yes 0.900 selected 0.100" in text
    assert "41 (not of this subject any more) no 0.100 0.900 selected" in text
    assert f"models compare {GOOD} {BAD} --team ours --subject ours-subject --ask" in text
    assert f"{GOOD} is better than {BAD}." in compared(ours, BAD, GOOD)


def test_a_difference_within_its_interval_is_no_conclusion(ours: Tenant, folder: Path):
    text = compared(ours, GOOD, WRONG_ONCE)

    assert f"It cannot be told whether {WRONG_ONCE} is better or worse than {GOOD}." in text
    assert "Articles that only one of them selects: 1 " in text


def test_the_form_offers_the_versions_and_a_page_without_two_compares_nothing(ours: Tenant, folder: Path):
    page = ours.client.get(reverse("admin:subject", args=[ours.subject.pk])).content.decode()
    address = f"{reverse('admin:compare', args=[ours.subject.pk])}?first={WRONG_ONCE}&amp;second={GOOD}"
    assert f'href="{address}" aria-label="Compare lgbm_tfidf 20260101 with 20260103"' in page

    text = compared(ours)

    assert "Conclusion" not in text
    assert [text.count(name) for name in (GOOD, BAD, WRONG_ONCE)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (GOOD, GOOD, f"{GOOD} cannot be compared with itself: choose two versions"),
        (GOOD, "theirs/theirs-subject/lgbm_tfidf/1", "there is no version theirs/theirs-subject/lgbm_tfidf/1 of this subject"),
        (GOOD, "../lgbm_tfidf/20260101", "there is no version ../lgbm_tfidf/20260101 of this subject"),
    ],
)
def test_what_cannot_be_compared_is_said(ours: Tenant, folder: Path, first: str, second: str, said: str):
    text = compared(ours, first, second)

    assert said in text
    assert "Conclusion" not in text
    # The form is there for another choice.
    assert text.count(WRONG_ONCE) == 2


def test_a_damaged_version_is_not_compared(ours: Tenant, folder: Path):
    (folder / "20260102" / "metrics.json").write_text("{}")

    assert "metrics.json: changed since training (sha256 differs)" in compared(ours, GOOD, BAD)


def test_one_comparison_works_at_a_time(ours: Tenant, folder: Path):
    with compare_page._one_at_a_time:
        assert "another comparison is at work: open this page again in a minute" in compared(ours, GOOD, BAD)


def test_no_page_follows_a_link_to_another_team(ours: Tenant, theirs: Tenant, folder: Path, models_dir: Path):
    linked = models_dir / "theirs" / "theirs-subject" / "lgbm_tfidf"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(folder)

    assert "there is no version" in compared(theirs, GOOD, BAD)
    assert "20260101" not in theirs.client.get(reverse("admin:subject", args=[theirs.subject.pk])).content.decode()
    promote = reverse("admin:promote", args=[theirs.subject.pk, "lgbm_tfidf", "20260101"])
    assert theirs.client.post(promote).status_code == 404
    assert not (folder / "promoted.json").exists()
