"""Imported articles -> GregoryAI's tables, in one transaction. Only for tables that this project's own migrations made."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.core.exceptions import ValidationError
from django.core.management.color import no_style
from django.core.validators import validate_unicode_slug
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from organizations.models import Organization

from gregory.data.csv_import import ImportRefused, ImportRow, refuse, shown
from gregory.models import Articles, ArticleSubjectRelevance, Subject, Team

# Records per statement: few round trips, and small statements even with long abstracts.
BATCH = 200


class SlugRefused(ImportRefused):
    """A slug of a team or subject that is not valid for the tables or for a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """created + updated + unchanged is the number of articles in the file, and so is labelled + unlabelled.

    updated: present articles that got this team, this subject or another label.
    summaries_kept: present articles with another summary, which was not changed.
    """

    created: int
    updated: int
    unchanged: int
    labelled: int
    unlabelled: int
    summaries_kept: int


def import_rows(rows: Sequence[ImportRow], *, team_slug: str, subject_slug: str) -> ImportResult:
    """Store articles, their subject with its team, and their labels. A missing team or subject is created.

    A present article with the same id and title is not replaced. It gets the missing team, subject and label. A label overrides an
    older label, and a missing label does not. Raises SlugRefused, and ImportRefused if the database is GregoryAI's own or if an id
    belongs to another article.
    """
    _check_slug("team", team_slug)
    _check_slug("subject", subject_slug)
    refuse_foreign_database()
    try:
        with transaction.atomic():
            return _store(rows, *_place(team_slug, subject_slug))
    except IntegrityError as error:
        raise ImportRefused(f"another process wrote the same articles at the same time; run the import again ({error})") from error


def refuse_foreign_database() -> None:
    """Raise ImportRefused if the tables are missing, or if they have columns of GregoryAI that this project cannot fill."""
    with connection.cursor() as cursor:
        present = connection.introspection.table_names(cursor)
        for model in (Articles, Subject, Team):
            table = model._meta.db_table
            if table not in present:
                raise ImportRefused(f"this database has no table {table}: run `manage.py migrate` first")
            known = {field.column for field in model._meta.concrete_fields}
            columns = {column.name for column in connection.introspection.get_table_description(cursor, table)}
            if columns - known:
                raise ImportRefused(
                    f"this database is GregoryAI's own (its table {table} also has {', '.join(sorted(columns - known))}): only GregoryAI "
                    "can fill its tables, so enter articles there; importing is for databases made by this project's migrations"
                )


def _check_slug(kind: str, slug: str) -> None:
    try:
        validate_unicode_slug(slug)
    except ValidationError as error:
        raise SlugRefused(f"{kind} slug {shown(slug)} is not usable: letters, digits, hyphens and underscores only") from error
    if len(slug) > 50:
        raise SlugRefused(f"{kind} slug {shown(slug)} is not usable: {len(slug)} characters, at most 50")


def _place(team_slug: str, subject_slug: str) -> tuple[Team, Subject]:
    team = Team.objects.filter(slug=team_slug).first()
    if team is None:
        organization = Organization.objects.filter(name=team_slug).first() or Organization.objects.create(name=team_slug)
        team = Team.objects.create(slug=team_slug, organization=organization)
    subject, _ = Subject.objects.get_or_create(team=team, subject_slug=subject_slug, defaults={"subject_name": subject_slug})
    return team, subject


def _store(rows: Sequence[ImportRow], team: Team, subject: Subject) -> ImportResult:
    present = Articles.objects.only("title", "summary").in_bulk([row.article_id for row in rows])
    known = [row for row in rows if row.article_id in present]
    refuse([_taken(row, present[row.article_id].title) for row in known if row.title != present[row.article_id].title.strip()])

    now = timezone.now()
    fresh = [row for row in rows if row.article_id not in present]
    Articles.objects.bulk_create((_article(row, now) for row in fresh), batch_size=BATCH)
    touched = _add_members(rows, team, subject) | _add_labels(rows, subject)
    _move_sequence()

    updated = len(touched & present.keys())
    labelled = sum(row.label is not None for row in rows)
    return ImportResult(
        created=len(fresh),
        updated=updated,
        unchanged=len(known) - updated,
        labelled=labelled,
        unlabelled=len(rows) - labelled,
        summaries_kept=sum(row.summary != (present[row.article_id].summary or "") for row in known),
    )


def _taken(row: ImportRow, title: str) -> str:
    return f"article_id {row.article_id} already belongs to another article: {shown(title)}, not {shown(row.title)}"


def _article(row: ImportRow, now: datetime) -> Articles:
    return Articles(
        article_id=row.article_id,
        title=row.title,
        summary=row.summary,
        link=row.link,
        discovery_date=row.discovery_date or now,
    )


def _add_members(rows: Sequence[ImportRow], team: Team, subject: Subject) -> set[int]:
    """Add the articles to the subject and its team. Returns the ids that were not in both."""
    in_subject, in_team = Articles.subjects.through, Articles.teams.through
    ids = {row.article_id for row in rows}
    not_in_subject = ids - set(in_subject.objects.filter(subject=subject).values_list("articles_id", flat=True))
    not_in_team = ids - set(in_team.objects.filter(team=team).values_list("articles_id", flat=True))
    in_subject.objects.bulk_create((in_subject(articles_id=key, subject=subject) for key in sorted(not_in_subject)), batch_size=BATCH)
    in_team.objects.bulk_create((in_team(articles_id=key, team=team) for key in sorted(not_in_team)), batch_size=BATCH)
    return not_in_subject | not_in_team


def _add_labels(rows: Sequence[ImportRow], subject: Subject) -> set[int]:
    """Store the labels. Returns the ids with a new or changed label."""
    reviews = ArticleSubjectRelevance.objects.filter(subject=subject)
    stored = dict(reviews.values_list("article_id", "is_relevant"))
    labels = {row.article_id: row.label for row in rows if row.label is not None}
    new = {key: label for key, label in labels.items() if key not in stored}
    changed = {key: label for key, label in labels.items() if key in stored and stored[key] != label}
    ArticleSubjectRelevance.objects.bulk_create(
        (ArticleSubjectRelevance(article_id=key, subject=subject, is_relevant=label) for key, label in new.items()), batch_size=BATCH
    )
    for label in (True, False):
        for keys in _batches(key for key, value in changed.items() if value is label):
            reviews.filter(article_id__in=keys).update(is_relevant=label)
    return new.keys() | changed.keys()


def _batches(keys: Iterable[int]) -> Iterator[list[int]]:
    remaining = iter(keys)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _move_sequence() -> None:
    # A sequence of PostgreSQL ignores explicit ids, so its next value could be taken.
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), [Articles]):
            cursor.execute(statement)
