"""The differences between the versions of GregoryAI's schema, read from the catalog. `models` has the common columns."""

from collections.abc import Collection

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from gregory.models import Subject, Team


def columns(table: str) -> frozenset[str]:
    """The names of a table's columns, from one query of the catalog. Empty if the table does not exist."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped", [table])
        else:
            cursor.execute("SELECT name FROM pragma_table_info(%s)", [table])
        return frozenset(name for (name,) in cursor.fetchall())


def active(teams: QuerySet[Team]) -> QuerySet[Team]:
    """The active teams. An older GregoryAI has no inactive teams, and then the result is all teams."""
    return teams.filter(pk__in=_active_ids()) if _has_inactive() else teams


def inactive(teams: QuerySet[Team]) -> QuerySet[Team]:
    """The teams that `active` leaves out."""
    return teams.exclude(pk__in=_active_ids()) if _has_inactive() else teams.none()


def automatic(subject_ids: Collection[int]) -> set[int]:
    """Those of the subjects that GregoryAI predicts without being asked. An older GregoryAI does not distinguish: then all of them."""
    if "auto_predict" not in columns(Subject._meta.db_table):
        return set(subject_ids)
    chosen = Subject.objects.filter(pk__in=subject_ids).filter(pk__in=RawSQL("SELECT id FROM subjects WHERE auto_predict", ()))
    return set(chosen.values_list("pk", flat=True))


def _has_inactive() -> bool:
    return "is_active" in columns(Team._meta.db_table)


def _active_ids() -> RawSQL:
    return RawSQL("SELECT id FROM gregory_team WHERE is_active", ())
