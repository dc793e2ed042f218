"""Imported articles -> GregoryAI's tables, in one transaction. Only for tables that this project's own migrations made."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import repeat

from django.core.management.color import no_style
from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.utils import timezone

from gregory.data.batches import batches
from gregory.data.imports.errors import ImportRefused
from gregory.data.imports.read import ImportRow
from gregory.data.models import ImportedArticle
from gregory.data.place import check_slug, place, refuse_foreign_database
from gregory.models import Articles, ArticleSubjectRelevance, Subject

# Records per statement: few round trips, and small statements even with long abstracts.
BATCH = 200
_LARGEST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """created + joined + updated + unchanged is the number of articles in the file, and so is labelled + unlabelled.

    joined: articles of another subject, which this one has now too. updated: present articles that changed. texts, labels: those of
    them with another text, and with another label.
    """

    created: int
    joined: int
    updated: int
    unchanged: int
    labelled: int
    unlabelled: int
    texts: int
    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Present:
    """A subject before the import. known: article ids of the identifiers. members, of_team: its articles, and those of its team."""

    subject: Subject
    known: dict[str, int]
    labels: dict[int, bool | None]
    members: set[int]
    of_team: set[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The article of a row, as it was before the import."""

    article_id: int
    title: str
    summary: str


def import_rows(rows: Sequence[ImportRow], *, team_slug: str, subject_slug: str, dry_run: bool = False) -> ImportResult:
    """Store articles, their subject with its team, and their labels. A missing team or subject is created.

    A present article of the subject gets the new title, abstract and label. A blank abstract and a missing label change nothing.
    dry_run: the result is that of an import, and nothing is stored. Raises SlugRefused, and ImportRefused if the database is GregoryAI's
    own.
    """
    check_slug("team", team_slug)
    check_slug("subject", subject_slug)
    refuse_foreign_database()
    try:
        with transaction.atomic():
            result = _store(rows, place(team_slug, subject_slug))
            transaction.set_rollback(dry_run)
            return result
    except IntegrityError as error:
        raise ImportRefused(f"another process wrote the same articles at the same time; run the import again ({error})") from error


def remove(*, team_slug: str, subject_slug: str, dry_run: bool = False) -> int:
    """Remove the imported articles of a subject with their labels. Returns their number. The subject, its runs and its models stay.

    Articles that another subject uses stay there. Raises ImportRefused if the database is GregoryAI's own.
    """
    refuse_foreign_database()
    with transaction.atomic():
        imported = ImportedArticle.objects.filter(subject__subject_slug=subject_slug, subject__team__slug=team_slug)
        ids = list(imported.values_list("article_id", flat=True))
        if ids:
            _take_out(ids, Subject.objects.get(subject_slug=subject_slug, team__slug=team_slug))
        transaction.set_rollback(dry_run)
    return len(ids)


def source_ids(subject_id: int) -> dict[int, str]:
    """The identifiers that the articles of a subject have in their files, by article id."""
    return dict(ImportedArticle.objects.filter(subject_id=subject_id).values_list("article_id", "source_id"))


def _present(subject: Subject) -> _Present:
    in_subject = Articles.subjects.through.objects.filter(subject=subject)
    in_team = Articles.teams.through.objects.filter(team=subject.team)
    return _Present(
        subject=subject,
        known={key: article_id for article_id, key in source_ids(subject.pk).items()},
        labels=dict(ArticleSubjectRelevance.objects.filter(subject=subject).values_list("article_id", "is_relevant")),
        members=set(in_subject.values_list("articles_id", flat=True)),
        of_team=set(in_team.values_list("articles_id", flat=True)),
    )


def _store(rows: Sequence[ImportRow], subject: Subject) -> ImportResult:
    present = _present(subject)
    known, labels = present.known, present.labels
    stored = _stored(rows, present)
    changed = {row.source_id for row in rows if row.source_id in stored and _has_other_text(row, stored[row.source_id])}
    # Another subject keeps the text that it has. This subject gets an article of its own.
    shared = _shared(subject, [stored[key].article_id for key in changed])
    copied = {key for key in changed if stored[key].article_id in shared}
    wanted = {row.source_id: labels.get(stored[row.source_id].article_id) if row.source_id in stored else None for row in rows}
    wanted |= {row.source_id: row.label for row in rows if row.label is not None}

    # Somebody deleted the articles of the other identifiers.
    gone = {row.source_id for row in rows if row.source_id in known and row.source_id not in stored}
    _take_out([*(stored[key].article_id for key in copied), *(known[key] for key in gone)], subject)
    _write_texts([row for row in rows if row.source_id in changed - copied], stored)
    ids = {key: one.article_id for key, one in stored.items() if key not in copied}
    ids |= _create([row for row in rows if row.source_id not in ids], timezone.now())
    _add_members(set(ids.values()), present)
    _note({key: article_id for key, article_id in ids.items() if key not in known.keys() - copied - gone}, subject)
    _write_labels({ids[key]: label for key, label in wanted.items() if label is not None}, present)

    joined = {key for key, one in stored.items() if one.article_id not in present.members}
    relabelled = {key for key, one in stored.items() if wanted[key] != labels.get(one.article_id)} - joined
    others = {key for key, one in stored.items() if one.article_id not in present.of_team}
    updated = (changed | relabelled | others) - joined
    labelled = sum(row.label is not None for row in rows)
    return ImportResult(
        created=len(rows) - len(stored),
        joined=len(joined),
        updated=len(updated),
        unchanged=len(stored) - len(joined) - len(updated),
        labelled=labelled,
        unlabelled=len(rows) - labelled,
        texts=len(changed - joined),
        labels=len(relabelled),
    )


def _stored(rows: Sequence[ImportRow], present: _Present) -> dict[str, _Stored]:
    """The articles of the rows that the database has, by the identifier in the file.

    An article of this subject without an identifier is of an older release, whose articles had the number of the file. An article of
    another subject is the same if number and text are equal.
    """
    known, taken = present.known, set(present.known.values())
    numbers = {row.source_id: int(row.source_id) for row in rows if row.source_id not in known and _is_number(row.source_id)}
    candidates = {key: number for key, number in numbers.items() if number not in taken}
    articles = _texts({*candidates.values(), *(known[row.source_id] for row in rows if row.source_id in known)})
    found = {}
    for row in rows:
        one = articles.get(known.get(row.source_id, candidates.get(row.source_id, 0)))
        if one and (row.source_id in known or one.article_id in present.members or _is_same(row, one)):
            found[row.source_id] = one
    return found


def _is_number(source_id: str) -> bool:
    # 0012 and 12 are two identifiers.
    return source_id.isascii() and source_id.isdecimal() and source_id[0] != "0" and int(source_id) <= _LARGEST_ID


def _texts(ids: Collection[int]) -> dict[int, _Stored]:
    found = {}
    for keys in batches(sorted(ids), BATCH):
        for article_id, title, summary in Articles.objects.filter(pk__in=keys).values_list("article_id", "title", "summary"):
            found[article_id] = _Stored(article_id=article_id, title=title, summary=summary or "")
    return found


def _is_same(row: ImportRow, one: _Stored) -> bool:
    return row.title == one.title.strip() and row.summary == one.summary


def _has_other_text(row: ImportRow, one: _Stored) -> bool:
    return row.title != one.title.strip() or (row.summary not in ("", one.summary))


def _shared(subject: Subject, ids: Iterable[int]) -> set[int]:
    """The articles that another subject uses."""
    others = Articles.subjects.through.objects.exclude(subject=subject)
    return {key for keys in batches(ids, BATCH) for key in others.filter(articles_id__in=keys).values_list("articles_id", flat=True)}


def _write_texts(rows: Sequence[ImportRow], stored: Mapping[str, _Stored]) -> None:
    articles = [
        Articles(article_id=stored[row.source_id].article_id, title=row.title, summary=row.summary or stored[row.source_id].summary)
        for row in rows
    ]
    Articles.objects.bulk_update(articles, ["title", "summary"], batch_size=BATCH)


def _create(rows: Sequence[ImportRow], now: datetime) -> dict[str, int]:
    """Create articles. An identifier that is a free number is also the article id. Returns the article ids."""
    numbers = {int(row.source_id) for row in rows if _is_number(row.source_id)}
    taken = {key for keys in batches(sorted(numbers), BATCH) for key in Articles.objects.filter(pk__in=keys).values_list("pk", flat=True)}
    own = [row for row in rows if _is_number(row.source_id) and int(row.source_id) not in taken]
    chosen = {row.source_id for row in own}
    Articles.objects.bulk_create((_article(row, now, article_id=int(row.source_id)) for row in own), batch_size=BATCH)
    _move_sequence()
    others = [row for row in rows if row.source_id not in chosen]
    created = Articles.objects.bulk_create((_article(row, now) for row in others), batch_size=BATCH)
    ids = {row.source_id: int(row.source_id) for row in own}
    return ids | {row.source_id: article.article_id for row, article in zip(others, created, strict=True)}


def _move_sequence() -> None:
    # A sequence of PostgreSQL ignores explicit ids, so its next value could be taken.
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [Articles]):
            cursor.execute(statement)


def _article(row: ImportRow, now: datetime, **given: int) -> Articles:
    return Articles(title=row.title, summary=row.summary, link=row.link, discovery_date=row.discovery_date or now, **given)


def _add_members(ids: set[int], present: _Present) -> None:
    """Add the articles to the subject and its team."""
    subject = present.subject
    _insert(Articles.subjects.through, {"articles_id": sorted(ids - present.members), "subject_id": repeat(subject.pk)})
    _insert(Articles.teams.through, {"articles_id": sorted(ids - present.of_team), "team_id": repeat(subject.team_id)})


def _note(ids: Mapping[str, int], subject: Subject) -> None:
    """Note the identifiers of articles."""
    _insert(ImportedArticle, {"article_id": ids.values(), "subject_id": repeat(subject.pk), "source_id": ids.keys()})


def _insert(model: type[Model], values: Mapping[str, Iterable[object]]) -> None:
    """Insert rows, given by column. The first field has the number of rows. An object for each row would double the time of an import."""
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, values))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({', '.join(['%s'] * len(values))})"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(zip(*values.values(), strict=False)))


def _write_labels(labels: Mapping[int, bool], present: _Present) -> None:
    subject, stored = present.subject, present.labels
    reviews = ArticleSubjectRelevance.objects.filter(subject=subject)
    new = [(key, label) for key, label in labels.items() if key not in stored]
    ArticleSubjectRelevance.objects.bulk_create(
        (ArticleSubjectRelevance(article_id=key, subject_id=subject.pk, is_relevant=label) for key, label in new), batch_size=BATCH
    )
    for label in (True, False):
        for keys in batches((key for key, value in labels.items() if value is label and stored.get(key, label) is not label), BATCH):
            reviews.filter(article_id__in=keys).update(is_relevant=label)


def _take_out(ids: Sequence[int], subject: Subject) -> None:
    """Take articles out of the subject, with their labels and identifiers. Those that no subject uses are deleted."""
    in_subject, in_team = Articles.subjects.through.objects, Articles.teams.through.objects
    for keys in batches(ids, BATCH):
        ArticleSubjectRelevance.objects.filter(subject=subject, article_id__in=keys).delete()
        ImportedArticle.objects.filter(subject=subject, article_id__in=keys).delete()
        in_subject.filter(subject=subject, articles_id__in=keys).delete()
        in_same_team = in_subject.filter(articles_id__in=keys, subject__team=subject.team).values_list("articles_id", flat=True)
        in_team.filter(team=subject.team, articles_id__in=set(keys) - set(in_same_team)).delete()
        Articles.objects.filter(
            pk__in=set(keys) - set(in_subject.filter(articles_id__in=keys).values_list("articles_id", flat=True))
        ).delete()
