"""What comes and goes between the generations of GregoryAI's schema, asked of the catalog; what is always there is in `models`."""

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from gregory.models import Team


def columns(table: str) -> frozenset[str]:
    """The names of a table's columns, by one query of the catalog; none where there is no such table."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped", [table])
        else:
            cursor.execute("SELECT name FROM pragma_table_info(%s)", [table])
        return frozenset(name for (name,) in cursor.fetchall())


def active(teams: QuerySet[Team]) -> QuerySet[Team]:
    """Those of the teams that nobody has deactivated, in a GregoryAI that knows of that; all of them in an older one."""
    if "is_active" not in columns(Team._meta.db_table):
        return teams
    return teams.filter(pk__in=RawSQL("SELECT id FROM gregory_team WHERE is_active", ()))
