"""The effect of an import on the database."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from organizations.models import Organization

from gregory.data.imports.errors import ImportRefused
from gregory.data.imports.read import ImportRow
from gregory.data.models import ImportedArticle
from gregory.data.place import SlugRefused
from gregory.data.store import ImportResult, import_rows, remove, source_ids
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team

pytestmark = pytest.mark.database


def row(source_id: object = 12, **changes: object) -> ImportRow:
    values = {"title": "Tea", "summary": "Cups.", "link": "urn:article:12", "label": True, "discovery_date": None, **changes}
    return ImportRow(source_id=str(source_id), **values)


def store(*wanted: ImportRow, team: str = "teas", subject: str = "green", **options: bool) -> ImportResult:
    return import_rows(wanted, team_slug=team, subject_slug=subject, **options)


def counts() -> list[int]:
    return [model.objects.count() for model in (Organization, Team, Subject, Articles, ArticleSubjectRelevance, ImportedArticle)]


def result(**changes: int) -> ImportResult:
    return ImportResult(
        **{"created": 0, "joined": 0, "updated": 0, "unchanged": 0, "labelled": 1, "unlabelled": 0, "texts": 0, "labels": 0, **changes}
    )


def test_new_articles_are_stored_with_their_memberships_and_labels(db):
    before = timezone.now()
    stored = store(row(12), row(13, label=False, discovery_date=datetime(2025, 6, 30, tzinfo=UTC)), row(14, label=None))
    assert stored == result(created=3, labelled=2, unlabelled=1)
    subject = Subject.objects.get(team__slug="teas", subject_slug="green")
    assert list(subject.articles.order_by("article_id").values_list("article_id", flat=True)) == [12, 13, 14]
    assert subject.team.articles.count() == 3
    assert subject.team.organization.name == "teas"
    assert dict(subject.article_relevances.values_list("article_id", "is_relevant")) == {12: True, 13: False}
    assert Articles.objects.get(article_id=13).discovery_date == datetime(2025, 6, 30, tzinfo=UTC)
    assert before <= Articles.objects.get(article_id=12).discovery_date <= timezone.now()
    assert source_ids(subject.pk) == {12: "12", 13: "13", 14: "14"}


def test_importing_again_changes_nothing(db):
    store(row(12), row(13, label=None), row("10.1000/x", title="Milk"))
    before = counts()
    assert store(row(12), row(13, label=None), row("10.1000/x", title="Milk")) == result(unchanged=3, labelled=2, unlabelled=1)
    assert counts() == before


def test_identifiers_of_every_kind_are_kept(db):
    wanted = ["12", "10.1000/x", "https://openalex.org/W1", "2147483648", "0012", "text:abc"]
    store(*(row(key, title=key) for key in wanted))
    ids = source_ids(Subject.objects.get().pk)
    assert sorted(ids.values()) == sorted(wanted)
    assert {Articles.objects.get(pk=key).title: value for key, value in ids.items()} == {key: key for key in wanted}


def test_two_projects_can_have_the_same_identifiers(db):
    store(row(1, title="First one"), row(2, title="First two", label=False))
    store(row(1, title="Second one", label=False), row(2, title="Second two"), team="coffees", subject="black")
    for team, titles in (("teas", {"1": "First one", "2": "First two"}), ("coffees", {"1": "Second one", "2": "Second two"})):
        ids = source_ids(Subject.objects.get(team__slug=team).pk)
        assert {key: Articles.objects.get(pk=article_id).title for article_id, key in ids.items()} == titles


def test_the_same_article_in_another_team_keeps_its_first_label(db):
    store(row(12))
    assert store(row(12, label=False), team="coffees", subject="green") == result(joined=1)
    labels = ArticleSubjectRelevance.objects.order_by("subject__team__slug").values_list("subject__team__slug", "is_relevant")
    assert list(labels) == [("coffees", False), ("teas", True)]
    assert set(Articles.objects.get().teams.values_list("slug", flat=True)) == {"teas", "coffees"}


def test_a_corrected_text_is_updated(db):
    store(row(12))
    assert store(row(12, title="Green tea", summary="Mugs.")) == result(updated=1, texts=1)
    assert Articles.objects.values_list("title", "summary").get() == ("Green tea", "Mugs.")


def test_a_blank_abstract_does_not_remove_an_abstract(db):
    store(row(12))
    assert store(row(12, summary="")) == result(unchanged=1)
    assert Articles.objects.get().summary == "Cups."


def test_a_corrected_text_changes_no_other_subject(db):
    store(row(12))
    store(row(12, label=False), team="coffees")
    assert store(row(12, title="Coffee", label=None), team="coffees") == result(updated=1, texts=1, labelled=0, unlabelled=1)
    teas, coffees = (Subject.objects.get(team__slug=team) for team in ("teas", "coffees"))
    assert (teas.articles.get().title, coffees.articles.get().title) == ("Tea", "Coffee")
    assert (teas.team.articles.get().title, coffees.team.articles.get().title) == ("Tea", "Coffee")
    assert coffees.article_relevances.get().is_relevant is False
    assert list(source_ids(coffees.pk).values()) == ["12"]


def test_an_import_of_an_older_release_is_updated(db):
    store(row(12), row(13, title="Milk"))
    ImportedArticle.objects.all().delete()
    assert store(row(12, title="Green tea"), row(13, title="Milk")) == result(updated=1, unchanged=1, texts=1, labelled=2)
    assert Articles.objects.count() == 2
    assert sorted(source_ids(Subject.objects.get().pk).values()) == ["12", "13"]


def test_an_article_that_was_deleted_is_imported_again(db):
    store(row(12))
    with connection.cursor() as cursor:
        for table in ("articles_subjects", "articles_teams"):
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute("DELETE FROM gregory_articlesubjectrelevance")
        cursor.execute("DELETE FROM articles")
    assert store(row(12)) == result(created=1)
    store(row(13), row("x"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE gregory_data_importedarticle SET article_id = 77 WHERE source_id = 'x'")
    assert store(row("x")).created == 1
    assert source_ids(Subject.objects.get().pk) == {12: "12", 13: "13", Articles.objects.get(pk__gt=14).pk: "x"}


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (None, True)])
def test_a_label_overrides_an_older_one(db, first, second):
    store(row(label=first))
    assert store(row(label=second)) == result(updated=1, labels=1)
    assert ArticleSubjectRelevance.objects.get().is_relevant is second


def test_a_label_replaces_a_null_review(db):
    store(row(label=None))
    ArticleSubjectRelevance.objects.create(article_id=12, subject=Subject.objects.get(), is_relevant=None)
    assert store(row(label=True)).updated == 1
    assert ArticleSubjectRelevance.objects.get().is_relevant is True


def test_a_missing_label_does_not_remove_a_label(db):
    store(row(label=True))
    assert store(row(label=None)).unchanged == 1
    assert ArticleSubjectRelevance.objects.get().is_relevant is True


def test_a_stored_null_summary_equals_an_empty_one(db):
    store(row(summary=""))
    Articles.objects.update(summary=None)
    assert store(row(summary="")).unchanged == 1


def test_a_number_that_another_article_has_is_not_taken(db):
    Articles.objects.create(article_id=12, title="Coffee", link="urn:article:12")
    store(row(11), row(12, title="Milk"))
    assert sorted(Articles.objects.values_list("title", flat=True)) == ["Coffee", "Milk", "Tea"]
    assert sorted(source_ids(Subject.objects.get().pk).values()) == ["11", "12"]


def test_the_database_gives_free_ids_after_an_import(db):
    store(row(500), row("x"))
    assert Articles.objects.create(title="Coffee", link="urn:coffee").article_id == 502


def test_a_dry_run_has_the_result_and_stores_nothing(db):
    assert store(row(12), dry_run=True) == result(created=1)
    assert counts() == [0] * 6


def test_an_import_is_removed_with_its_labels(db):
    store(row(12), row(13, title="Milk"))
    store(row(12), team="coffees")
    assert remove(team_slug="teas", subject_slug="green", dry_run=True) == 2
    assert remove(team_slug="teas", subject_slug="green") == 2
    assert list(Articles.objects.values_list("article_id", flat=True)) == [12]
    assert list(ArticleSubjectRelevance.objects.values_list("subject__team__slug", flat=True)) == ["coffees"]
    assert Subject.objects.count() == 2
    assert (Articles.subjects.through.objects.count(), Articles.teams.through.objects.count(), ImportedArticle.objects.count()) == (1, 1, 1)
    assert remove(team_slug="teas", subject_slug="green") == 0


def test_articles_that_were_not_imported_are_not_removed(db):
    store(row(12))
    own = Articles.objects.create(title="Coffee", link="urn:coffee")
    own.subjects.add(Subject.objects.get())
    remove(team_slug="teas", subject_slug="green")
    assert list(Articles.objects.all()) == [own]


def test_the_organization_of_a_present_team_is_not_changed(db):
    team = Team.objects.create(slug="teas", organization=Organization.objects.create(name="Leaves"))
    store(row())
    assert Subject.objects.get().team == team
    assert Organization.objects.count() == 1


def test_a_present_organization_of_that_name_is_used(db):
    organization = Organization.objects.create(name="teas")
    store(row())
    assert Team.objects.get().organization == organization


def test_slugs_of_any_script_are_accepted(db):
    store(row(), team="茶", subject="緑-茶")
    assert str(Subject.objects.get().team) == "茶"


@pytest.mark.parametrize(
    ("team", "subject", "message"),
    [
        ("", "green", "team slug '' is not usable: letters, digits, hyphens and underscores only"),
        ("teas/../x", "green", "team slug 'teas/../x' is not usable: letters, digits, hyphens and underscores only"),
        ("teas", "green tea", "subject slug 'green tea' is not usable: letters, digits, hyphens and underscores only"),
        ("teas", "g" * 51, f"subject slug '{'g' * 51}' is not usable: 51 characters, at most 50"),
    ],
)
def test_slugs_that_are_refused(db, team, subject, message):
    with pytest.raises(SlugRefused) as caught:
        store(row(), team=team, subject=subject)
    assert caught.value.messages == (message,)
    assert counts() == [0] * 6


def test_a_database_of_gregoryai_is_refused(db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE articles ADD COLUMN utitle text")
        cursor.execute("ALTER TABLE articles ADD COLUMN relevant boolean")
    message = (
        "this database is GregoryAI's own (its table articles also has relevant, utitle): only GregoryAI can fill its tables, so enter "
        "articles there; importing is for databases made by this project's migrations"
    )
    for act in (lambda: store(row()), lambda: remove(team_slug="teas", subject_slug="green")):
        with pytest.raises(ImportRefused) as caught:
            act()
        assert caught.value.messages == (message,)
    assert counts() == [0] * 6


def test_a_database_without_tables_is_refused(db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE articles RENAME TO elsewhere")
    with pytest.raises(ImportRefused) as caught:
        store(row())
    assert caught.value.messages == ("this database has no table articles: run `manage.py migrate` first",)


def test_a_concurrent_import_of_the_same_article_is_named_as_the_cause(db, monkeypatch):
    def now_while_another_writes() -> datetime:
        moment = datetime(2025, 6, 30, tzinfo=UTC)
        subject = Subject.objects.get()
        other = Articles.objects.create(article_id=500, title="Tea", link="urn:article:12", discovery_date=moment)
        ImportedArticle.objects.create(subject=subject, article=other, source_id="12")
        return moment

    monkeypatch.setattr("gregory.data.store.timezone.now", now_while_another_writes)
    with pytest.raises(ImportRefused) as caught:
        store(row())
    assert str(caught.value).startswith("another process wrote the same articles at the same time; run the import again (")
    assert counts() == [0] * 6


def test_four_thousand_articles_need_no_statement_each(db):
    with CaptureQueriesContext(connection) as statements:
        stored = store(*(row(number, title=f"Tea {number}", summary="text " * 250, label=None) for number in range(1, 4001)))
    assert stored == result(created=4000, labelled=0, unlabelled=4000)
    assert len(statements) < 400
