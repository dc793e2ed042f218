"""`load_demo`: it loads all demo articles in one transaction, once, and never adds them to real articles."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from gregory.data import store
from gregory.data.imports.read import ImportRow
from gregory.data.store import import_rows
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team

pytestmark = pytest.mark.database


def run(*flags: str) -> str:
    out = io.StringIO()
    call_command("load_demo", *flags, stdout=out)
    return out.getvalue()


def state() -> tuple[list[object], ...]:
    return (
        list(Articles.objects.order_by("article_id").values_list("article_id", "title", "discovery_date")),
        list(ArticleSubjectRelevance.objects.order_by("id").values_list("id", "article_id", "subject_id", "is_relevant")),
        list(Subject.objects.order_by("id").values_list("id", "subject_slug", "team__slug")),
    )


def test_it_prints_the_counts(db):
    lines = run().splitlines()
    assert lines == [
        f"{subject.team}/{subject.subject_slug}: {labelled} labelled articles ({relevant} relevant), "
        f"{subject.articles.count() - labelled} unlabelled"
        for subject in Subject.objects.order_by("team__slug", "subject_slug")
        for labelled in [subject.article_relevances.count()]
        for relevant in [subject.article_relevances.filter(is_relevant=True).count()]
    ] + [f"loaded 2 teams, 3 subjects and {Articles.objects.count()} invented articles"]
    assert len(lines) == 4


def test_each_subject_has_enough_articles_in_the_default_window(db):
    run()
    start = timezone.now() - timedelta(days=90)
    assert {
        subject.subject_slug: subject.article_relevances.filter(article__discovery_date__gte=start).count() > 95
        for subject in Subject.objects.all()
    } == {"migraine-prevention": True, "multiple-sclerosis-remyelination": True, "vaccine-uptake": True}
    assert not Articles.objects.filter(discovery_date__gt=timezone.now()).exists()


def test_an_article_of_two_teams_belongs_to_both(db):
    run()
    articles = Articles.objects.filter(title__contains="multiple sclerosis", subjects__subject_slug="vaccine-uptake")
    assert set(articles[0].teams.values_list("slug", flat=True)) == {"neurology", "public-health"}


def test_a_repetition_changes_nothing_and_keeps_changed_labels(db):
    run()
    ArticleSubjectRelevance.objects.filter(is_relevant=False).update(is_relevant=True)
    before = state()
    assert run() == f"all {len(before[0])} demo articles are already loaded; nothing was changed\n"
    assert state() == before


def test_verbosity_0_prints_nothing(db):
    assert run("--verbosity", "0") == ""
    assert Team.objects.count() == 2


def test_an_incomplete_demo_is_refused_with_the_remedy(db):
    run()
    last = Articles.objects.order_by("article_id").last()
    total = Articles.objects.count()
    Articles.objects.filter(article_id=1_000_000_005).delete()
    with pytest.raises(CommandError) as caught:
        run()
    assert str(caught.value) == (
        f"{total - 1} of the {total} demo articles are already loaded; delete the articles 1000000001 to {last.article_id}, "
        "then run load_demo again"
    )
    assert caught.value.returncode == 1
    assert Articles.objects.count() == total - 1


def test_it_loads_again_after_its_articles_were_deleted(db):
    first = run()
    Articles.objects.all().delete()
    assert run() == first


def test_a_subject_with_real_articles_is_refused_and_nothing_is_loaded(db):
    own = ImportRow(source_id="1", title="Own", summary="", link="urn:article:1", label=True, discovery_date=None)
    import_rows([own], team_slug="public-health", subject_slug="vaccine-uptake")
    with pytest.raises(CommandError) as caught:
        run()
    assert str(caught.value) == (
        "subject public-health/vaccine-uptake has other articles; rename the subject, because demo articles are never added to real ones"
    )
    assert (Articles.objects.count(), Team.objects.count(), Subject.objects.count()) == (1, 1, 1)


def test_a_database_of_gregoryai_is_refused(db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE subjects ADD COLUMN auto_predict boolean")
    with pytest.raises(CommandError) as caught:
        run()
    assert str(caught.value) == (
        "this database is GregoryAI's own (its table subjects also has auto_predict): only GregoryAI can fill its tables, so enter "
        "articles there; importing is for databases made by this project's migrations"
    )
    assert Articles.objects.count() == 0


def test_a_database_that_goes_away_is_one_line_and_keeps_nothing(db, monkeypatch):
    def away() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(store, "_move_sequence", away)

    with pytest.raises(CommandError, match=r"^the database cannot be used: connection refused; ") as ended:
        call_command("load_demo", stdout=io.StringIO())

    assert (ended.value.returncode, Articles.objects.count(), Team.objects.count()) == (1, 0, 0)
