"""The team and the subject of an import, and the databases in which imports are possible."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_unicode_slug
from organizations.models import Organization

from gregory.data import schema
from gregory.data.imports.errors import ImportRefused, shown
from gregory.data.models import ImportedArticle
from gregory.models import Articles, Subject, Team


class SlugRefused(ImportRefused):
    """A slug of a team or subject that is not valid for the tables or for a folder."""


def refuse_foreign_database() -> None:
    """Raise ImportRefused if the tables are missing, or if they have columns of GregoryAI that this project cannot fill."""
    for model in (Articles, Subject, Team, ImportedArticle):
        table = model._meta.db_table
        # From the catalog, because a role with few rights cannot read the table.
        columns = schema.columns(table)
        if not columns:
            raise ImportRefused(f"this database has no table {table}: run `manage.py migrate` first")
        if foreign := columns - {field.column for field in model._meta.concrete_fields}:
            raise ImportRefused(
                f"this database is GregoryAI's own (its table {table} also has {', '.join(sorted(foreign))}): only GregoryAI "
                "can fill its tables, so enter articles there; importing is for databases made by this project's migrations"
            )


def check_slug(kind: str, slug: str) -> None:
    """Raises SlugRefused."""
    try:
        validate_unicode_slug(slug)
    except ValidationError as error:
        raise SlugRefused(f"{kind} slug {shown(slug)} is not usable: letters, digits, hyphens and underscores only") from error
    if len(slug) > 50:
        raise SlugRefused(f"{kind} slug {shown(slug)} is not usable: {len(slug)} characters, at most 50")


def place(team_slug: str, subject_slug: str) -> Subject:
    """The subject. A missing team or subject is created."""
    team = Team.objects.filter(slug=team_slug).first()
    if team is None:
        organization = Organization.objects.filter(name=team_slug).first() or Organization.objects.create(name=team_slug)
        team = Team.objects.create(slug=team_slug, organization=organization)
    subject, _ = Subject.objects.get_or_create(team=team, subject_slug=subject_slug, defaults={"subject_name": subject_slug})
    return subject
