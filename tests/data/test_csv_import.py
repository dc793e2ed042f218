"""The rules of the CSV file, and the effect of an import on the database."""

import csv
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from organizations.models import Organization

from gregory.data import csv_import
from gregory.data.csv_import import ImportRefused, ImportRow, read_csv
from gregory.data.store import ImportResult, SlugRefused, import_rows
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team

pytestmark = pytest.mark.database
NEEDED = (
    "an import needs article_id (or pmid, id), title, summary (or abstract), or a text in place of both; "
    "relevant (or label) and discovery_date are optional"
)
HEADER = "article_id,title,summary,relevant,discovery_date\n"
ALREADY = "article_id 12 already belongs to another article"


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "papers.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refusal(path: Path) -> tuple[str, ...]:
    with pytest.raises(ImportRefused) as caught:
        read_csv(path)
    return tuple(message.replace(str(path), "papers.csv") for message in caught.value.messages)


def row(article_id: int = 12, **changes: object) -> ImportRow:
    values = {"title": "Tea", "summary": "Cups.", "link": "urn:article:12", "label": True, "discovery_date": None, **changes}
    return ImportRow(article_id=article_id, **values)


def store(*wanted: ImportRow, team: str = "teas", subject: str = "green") -> ImportResult:
    return import_rows(wanted, team_slug=team, subject_slug=subject)


def counts() -> list[int]:
    return [model.objects.count() for model in (Organization, Team, Subject, Articles, ArticleSubjectRelevance)]


def test_a_line_is_read_with_all_its_fields(write):
    assert read_csv(write(HEADER + "12,Tea,Cups.,1,2025-06-30T12:00:00+02:00\n")) == [
        ImportRow(
            article_id=12,
            title="Tea",
            summary="Cups.",
            link="urn:article:12",
            label=True,
            discovery_date=datetime(2025, 6, 30, 10, tzinfo=UTC),
        )
    ]


def test_header_names_have_any_case_and_order_after_a_bom(write):
    assert read_csv(write('\ufeffLabel,journal, ABSTRACT ,Title,ID\n0,Tea J,"Two, cups",Tea,12\n')) == [
        row(summary="Two, cups", label=False, discovery_date=None)
    ]


@pytest.mark.parametrize(
    ("value", "label"),
    [("1", True), ("TRUE", True), ("Yes", True), ("0", False), ("false", False), ("nO", False), ("", None), (" ", None)],
)
def test_labels(write, value, label):
    assert read_csv(write(HEADER + f"12,Tea,Cups.,{value},\n"))[0].label is label


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2025-06-30", datetime(2025, 6, 30, tzinfo=UTC)),
        ("2025-06-30 08:15", datetime(2025, 6, 30, 8, 15, tzinfo=UTC)),
        ("2025-06-30T08:15:00Z", datetime(2025, 6, 30, 8, 15, tzinfo=UTC)),
        ("", None),
    ],
)
def test_dates_without_a_zone_are_utc(write, value, moment):
    assert read_csv(write(HEADER + f"12,Tea,Cups.,1,{value}\n"))[0].discovery_date == moment


def test_label_and_date_columns_may_be_missing(write):
    read = read_csv(write("id,title,abstract\n12,Tea,\n"))
    assert read == [row(summary="", label=None)]


def test_a_column_pmid_sets_the_address_to_pubmed(write):
    assert read_csv(write("pmid,title,abstract\n12,Tea,\n"))[0].link == "https://pubmed.ncbi.nlm.nih.gov/12/"


def test_article_id_is_preferred_to_pmid(write):
    assert read_csv(write("pmid,article_id,title,abstract\n99,12,Tea,Cups.\n")) == [row(label=None)]


def test_an_abstract_of_five_megabytes_is_read_and_the_field_limit_restored(write):
    before = csv.field_size_limit()
    abstract = "word " * 1_000_000
    assert read_csv(write(HEADER + f"12,Tea,{abstract},1,\n"))[0].summary == abstract
    assert csv.field_size_limit() == before


def test_a_field_beyond_the_limit_is_refused_with_its_line(write, monkeypatch):
    monkeypatch.setattr(csv_import, "FIELD_LIMIT", 1000)
    assert refusal(write(HEADER + "11,Tea,Cups.,1,\n" + f"12,Tea,{'x' * 1001},1,\n")) == (
        "line 3: not CSV: field larger than field limit (1000); check for a quote that is not closed or not doubled",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "article_id;title;summary\n",
            f"papers.csv has the columns article_id;title;summary; {NEEDED}",
        ),
        ("article_id,text_processed,relevant\n12,tea,1\n", f"papers.csv has the columns article_id, text_processed, relevant; {NEEDED}"),
        ("id,title,Title,abstract\n", "papers.csv has more than one column named title"),
        ("", f"papers.csv holds no article; {NEEDED}"),
        (HEADER, f"papers.csv holds no article; {NEEDED}"),
        (
            HEADER.encode() + "12,Caf\u00e9,,1,\n".encode("latin-1"),
            "papers.csv is not UTF-8: byte 0xe9 at offset 55 (line 2); save it as UTF-8",
        ),
        (HEADER.encode("utf-16"), "papers.csv is not UTF-8: byte 0xff at offset 0 (line 1); save it as UTF-8"),
        (HEADER + '12,"Tea,Cups.,1,\n', "line 2: not CSV: unexpected end of data; check for a quote that is not closed or not doubled"),
    ],
)
def test_files_that_are_refused(write, content, message):
    assert refusal(write(content)) == (message,)


def test_a_missing_file_is_refused(tmp_path):
    path = tmp_path / "papers.csv"
    assert refusal(path) == ("papers.csv cannot be read: No such file or directory",)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("twelve,Tea,Cups.,1,", "article_id 'twelve' is not a whole number from 1 to 2147483647"),
        ("0,Tea,Cups.,1,", "article_id '0' is not a whole number from 1 to 2147483647"),
        ("12.0,Tea,Cups.,1,", "article_id '12.0' is not a whole number from 1 to 2147483647"),
        ("1_2,Tea,Cups.,1,", "article_id '1_2' is not a whole number from 1 to 2147483647"),
        ("2147483648,Tea,Cups.,1,", "article_id '2147483648' is not a whole number from 1 to 2147483647"),
        (",Tea,Cups.,1,", "article_id '' is not a whole number from 1 to 2147483647"),
        ("12, ,Cups.,1,", "the title is blank"),
        ("12,T\0a,Cups.,1,", "a NUL character, which PostgreSQL cannot store; remove it"),
        ("12,Tea,C\0ps.,1,", "a NUL character, which PostgreSQL cannot store; remove it"),
        ("12,Tea,Cups.,maybe,", "label 'maybe' is none of 1, 0, true, false, yes, no, or blank for not reviewed"),
        (f"12,Tea,Cups.,{'m' * 61},", f"label '{'m' * 57}...' is none of 1, 0, true, false, yes, no, or blank for not reviewed"),
        (
            "12,Tea,Cups.,1,30/06/2025",
            "discovery_date '30/06/2025' is not an ISO date or time such as 2025-06-30 or 2025-06-30T12:00:00+00:00",
        ),
        ("12,Tea,Cups.,1,0001-01-01T00:00+14:00", "discovery_date '0001-01-01T00:00+14:00' lies outside the years 1 to 9999 in UTC"),
        ("12,Tea,Cups, saucers.,1,", "6 fields where the header has 5; a text with commas or line breaks needs quotes"),
        ("12,Tea", "2 fields where the header has 5; a text with commas or line breaks needs quotes"),
    ],
)
def test_lines_that_are_refused(write, record, message):
    assert refusal(write(HEADER + "11,Tea,Cups.,1,\n" + record + "\n")) == (f"line 3: {message}",)


def test_the_largest_id_is_accepted(write):
    assert read_csv(write(HEADER + "2147483647,Tea,Cups.,1,\n"))[0].article_id == 2147483647


def test_a_repeated_id_is_refused_with_both_lines(write):
    assert refusal(write(HEADER + "12,Tea,Cups.,1,\n13,Tea,,,\n12,Tea,Cups.,1,\n")) == ("line 4: article_id 12 is also in line 2",)


def test_line_numbers_are_those_of_the_first_line_of_an_entry(write):
    content = HEADER + '11,Tea,"One\ntwo\r\nthree",1,\n\n12,"Te\na",Cups.,maybe,\n13,Tea,Cups.,perhaps,\n'
    assert refusal(write(content)) == (
        "line 6: label 'maybe' is none of 1, 0, true, false, yes, no, or blank for not reviewed",
        "line 8: label 'perhaps' is none of 1, 0, true, false, yes, no, or blank for not reviewed",
    )


def test_line_ends_in_an_abstract_are_not_changed(write):
    assert read_csv(write(HEADER + '12,Tea,"One\r\ntwo\nthree",1,\r\n'))[0].summary == "One\r\ntwo\nthree"


def test_the_first_twenty_invalid_lines_are_named_and_the_others_counted(write):
    messages = refusal(write(HEADER + "".join(f"{number},,Cups.,1,\n" for number in range(1, 24))))
    assert messages == (*(f"line {number}: the title is blank" for number in range(2, 22)), "... and 3 more")


def test_new_articles_are_stored_with_their_memberships_and_labels(db):
    before = timezone.now()
    result = store(row(12), row(13, label=False, discovery_date=datetime(2025, 6, 30, tzinfo=UTC)), row(14, label=None))
    assert result == ImportResult(created=3, updated=0, unchanged=0, labelled=2, unlabelled=1, summaries_kept=0)
    subject = Subject.objects.get(team__slug="teas", subject_slug="green")
    assert list(subject.articles.order_by("article_id").values_list("article_id", flat=True)) == [12, 13, 14]
    assert subject.team.articles.count() == 3
    assert subject.team.organization.name == "teas"
    assert dict(subject.article_relevances.values_list("article_id", "is_relevant")) == {12: True, 13: False}
    assert Articles.objects.get(article_id=13).discovery_date == datetime(2025, 6, 30, tzinfo=UTC)
    assert before <= Articles.objects.get(article_id=12).discovery_date <= timezone.now()


def test_importing_again_changes_nothing(db):
    store(row(12), row(13, label=None))
    before = counts()
    assert store(row(12), row(13, label=None)) == ImportResult(
        created=0, updated=0, unchanged=2, labelled=1, unlabelled=1, summaries_kept=0
    )
    assert counts() == before


def test_the_same_article_in_another_team_keeps_its_first_label(db):
    store(row(12))
    result = store(row(12, label=False), team="coffees", subject="green")
    assert (result.created, result.updated) == (0, 1)
    labels = ArticleSubjectRelevance.objects.order_by("subject__team__slug").values_list("subject__team__slug", "is_relevant")
    assert list(labels) == [("coffees", False), ("teas", True)]
    assert set(Articles.objects.get().teams.values_list("slug", flat=True)) == {"teas", "coffees"}


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (None, True)])
def test_a_label_overrides_an_older_one(db, first, second):
    store(row(label=first))
    assert store(row(label=second)).updated == 1
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


def test_the_stored_summary_is_not_changed_and_is_counted(db):
    store(row(summary="Cups."))
    assert store(row(summary="Mugs.")).summaries_kept == 1
    assert Articles.objects.get().summary == "Cups."


def test_a_stored_null_summary_equals_an_empty_one(db):
    Articles.objects.create(article_id=12, title="Tea", summary=None, link="urn:article:12")
    assert store(row(summary="")).summaries_kept == 0


def test_an_id_of_another_article_is_refused_and_nothing_is_imported(db):
    Articles.objects.create(article_id=12, title="Coffee", link="urn:article:12")
    before = counts()
    with pytest.raises(ImportRefused) as caught:
        store(row(11), row(12, title="Tea"))
    assert caught.value.messages == (f"{ALREADY}: 'Coffee', not 'Tea'",)
    assert counts() == before == [0, 0, 0, 1, 0]


def test_the_database_gives_free_ids_after_an_import(db):
    store(row(500))
    assert Articles.objects.create(title="Coffee", link="urn:coffee").article_id == 501


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
    assert counts() == [0, 0, 0, 0, 0]


def test_a_database_of_gregoryai_is_refused(db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE articles ADD COLUMN utitle text")
        cursor.execute("ALTER TABLE articles ADD COLUMN relevant boolean")
    with pytest.raises(ImportRefused) as caught:
        store(row())
    assert caught.value.messages == (
        "this database is GregoryAI's own (its table articles also has relevant, utitle): only GregoryAI can fill its tables, so enter "
        "articles there; importing is for databases made by this project's migrations",
    )
    assert counts() == [0, 0, 0, 0, 0]


def test_a_database_without_tables_is_refused(db):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE articles RENAME TO elsewhere")
    with pytest.raises(ImportRefused) as caught:
        store(row())
    assert caught.value.messages == ("this database has no table articles: run `manage.py migrate` first",)


def test_a_concurrent_import_of_the_same_article_is_named_as_the_cause(db, monkeypatch):
    def now_while_another_writes() -> datetime:
        moment = datetime(2025, 6, 30, tzinfo=UTC)
        Articles.objects.create(article_id=12, title="Tea", link="urn:article:12", discovery_date=moment)
        return moment

    monkeypatch.setattr("gregory.data.store.timezone.now", now_while_another_writes)
    with pytest.raises(ImportRefused) as caught:
        store(row())
    assert str(caught.value).startswith("another process wrote the same articles at the same time; run the import again (")
    assert counts() == [0, 0, 0, 0, 0]


def feed_file(path: Path, count: int, *, labels: Sequence[str] | None = None) -> Path:
    """A file with the columns of a GregoryAI feed. Titles and abstracts contain commas, quotes, line breaks and accents."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "title", "abstract", *(["label"] if labels else []), "source", "discovery_date"])
        for number in range(count):
            title, abstract = f'A "quoted" naïve title, part {number}', f"Objective: words, and more.\nResults {number}: " + "text " * 250
            label = [labels[number % len(labels)]] if labels else []
            writer.writerow([number + 1, title, abstract, *label, "PubMed", "2024-02-03 04:05:06+00:00"])
    return path


def test_four_thousand_articles_take_seconds(db, tmp_path: Path):
    started = time.perf_counter()
    result = store(*read_csv(feed_file(tmp_path / "pool.csv", 4000)))
    seconds = time.perf_counter() - started
    assert result == ImportResult(created=4000, updated=0, unchanged=0, labelled=0, unlabelled=4000, summaries_kept=0)
    # About one second on an idle machine. The bound allows for a busy one, and one statement per article would exceed it.
    assert seconds < 10


def test_a_labelled_file_of_a_feed_is_read(tmp_path: Path):
    read = read_csv(feed_file(tmp_path / "labelled.csv", 30, labels=("1", "0", "0")))
    assert [article.label for article in read] == [True, False, False] * 10
    assert read[0].title == 'A "quoted" naïve title, part 0'
    assert read[0].summary.startswith("Objective: words, and more.\nResults 0: text")
    assert read[0].discovery_date == datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
