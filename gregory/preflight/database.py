"""The database of a run: whether it answers, which generation of GregoryAI's tables it has, and what this role may do there.

What is missing is named with the statement that mends it, for whoever owns the tables.
"""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model

from gregory.data import schema
from gregory.models import Articles, ArticleSubjectRelevance, PredictionRunLog, Subject, Team
from gregory.preflight.finding import Area, Finding
from gregory.runs.db_retry import read_only_transaction
from gregory.runs.models import AlgorithmRun, RunEvent, TrainingRun

_DATABASE = Area("database")
ROLE_SCRIPT = "docs/sql/least-privilege.sql"
READ, WRITTEN = ("SELECT",), ("SELECT", "INSERT", "UPDATE")


def _columns_of(model: type[Model]) -> frozenset[str]:
    return frozenset(field.column for field in model._meta.concrete_fields if field.column)


# Every table that commands and runs touch: the columns they name, and what they do there.
NEEDED: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "gregory_team": (_columns_of(Team), READ),
    "subjects": (_columns_of(Subject), READ),
    "articles": (frozenset({"article_id", "title", "summary", "discovery_date"}), READ),
    "articles_subjects": (_columns_of(Articles.subjects.through), READ),
    "gregory_articlesubjectrelevance": (_columns_of(ArticleSubjectRelevance), READ),
    "gregory_predictionrunlog": (_columns_of(PredictionRunLog), WRITTEN),
    "django_migrations": (frozenset({"app", "name"}), READ),
    **{model._meta.db_table: (_columns_of(model), WRITTEN) for model in (TrainingRun, AlgorithmRun, RunEvent)},
}
OURS = frozenset(model._meta.db_table for model in (TrainingRun, AlgorithmRun, RunEvent))
# Where a subject's rows are looked for; without an index each training reads the whole table.
LOOKED_UP = (("gregory_articlesubjectrelevance", "subject_id"), ("articles_subjects", "subject_id"))

# Columns that tell the generations apart, by the migration of GregoryAI's that brought each, in their order.
BROUGHT_BY = (
    ("0003", "subjects", "auto_predict"),
    ("0007", "gregory_team", "name"),
    ("0018", "articles", "utitle"),
    ("0025", "subjects", "ml_consensus_type"),
    ("0034", "gregory_team", "site_id"),
    ("0039", "gregory_team", "is_active"),
)
# Of the oldest generation; this project's own migrations never made it.
GONE_SINCE = ("articles", "takeaways")


def look_at_database() -> Iterator[Finding]:
    """One look; the first thing that keeps the rest from being seen ends it."""
    try:
        with read_only_transaction():
            yield from _look()
    except (DatabaseError, InterfaceError) as error:
        yield _DATABASE.error(
            f"it cannot be used: {' '.join(str(error).split())}", "check POSTGRES_DB, POSTGRES_USER, DB_HOST and the server"
        )


def _look() -> Iterator[Finding]:
    there = {table: schema.columns(table) for table in NEEDED}
    on_postgresql = connection.vendor == "postgresql"
    if on_postgresql:
        yield from _server()
    else:
        yield _DATABASE.ok(f"the file {settings.DATABASES['default']['NAME']}: for trials; PostgreSQL is for work")
    if theirs := [table for table in there if not there[table] and table not in OURS]:
        yield _DATABASE.error(
            f"it has no table {', '.join(theirs)}: neither GregoryAI nor this project was migrated here, or this role does not see them",
            "check POSTGRES_DB, or run: python manage.py migrate",
        )
        return
    yield from _tables(there)
    if not on_postgresql or _may("SELECT", "django_migrations"):
        yield from _migrations()
    if on_postgresql:
        tables = [table for table in there if there[table]]
        yield from _rights(tables)
        yield from _indexes()


def _server() -> Iterator[Finding]:
    version, database, role, schema_name, standby = _ask(
        "SELECT current_setting('server_version'), current_database(), current_user, current_schema(), pg_is_in_recovery()"
    )[0]
    yield _DATABASE.ok(f"PostgreSQL {version.split()[0]}, database {database}, role {role}")
    if schema_name is None:
        yield _DATABASE.error(f"role {role} may use no schema of it", f"as the owner: GRANT USAGE ON SCHEMA public TO {_quoted(role)};")
    if standby:
        yield _DATABASE.error("it is a standby and takes no rows", "name the primary in DB_HOST")


def _tables(there: dict[str, frozenset[str]]) -> Iterator[Finding]:
    yield _DATABASE.ok(f"tables {_generation()}")
    for table, (columns, _) in NEEDED.items():
        if there[table] and (lacking := columns - there[table]):
            yield _DATABASE.error(f"table {table} has no column {', '.join(sorted(lacking))}", "see: python manage.py migrate --plan")


def _generation() -> str:
    """Which tables these are, in words."""
    has = [number for number, table, column in BROUGHT_BY if column in schema.columns(table)]
    table, column = GONE_SINCE
    if not has:
        as_specified = column in schema.columns(table)
        return "of GregoryAI as train_models was specified for it, in May 2025" if as_specified else "of this project's own migrations"
    if len(has) == len(BROUGHT_BY):
        return f"of GregoryAI since its migration {has[-1]}, as in August 2026"
    lacking = next(number for number, _, _ in BROUGHT_BY if number not in has)
    return f"of GregoryAI between its migrations: {has[-1]} is there, {lacking} is not"


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    pending = [f"{migration.app_label}.{migration.name}" for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    if not pending:
        yield _DATABASE.ok("every migration is recorded")
        return
    remedy = "as the owner of the tables: python manage.py migrate"
    if any(not name.startswith("gregory_runs.") for name in pending):
        remedy = f"right where GregoryAI itself has not run those of other apps yet; {remedy} --plan, then without --plan"
    yield _DATABASE.error(f"not migrated yet: {', '.join(pending)}", remedy)


def _rights(tables: list[str]) -> Iterator[Finding]:
    role = _quoted(_ask("SELECT current_user")[0][0])
    lacking = []
    for table in tables:
        rights = [right for right in NEEDED[table][1] if not _may(right, table)]
        if rights:
            lacking.append(f"GRANT {', '.join(rights)} ON {table} TO {role};")
    for (sequence,) in _ask(SEQUENCES):
        if not _ask("SELECT has_sequence_privilege(%s, 'USAGE')", sequence)[0][0]:
            lacking.append(f"GRANT USAGE ON SEQUENCE {sequence} TO {role};")
    for grant in lacking:
        yield _DATABASE.error(f"role {role} may not do what runs do", f"as the owner of the tables: {grant}")
    if lacking:
        return
    written = [table for table in tables if NEEDED[table][1] == WRITTEN]
    read = [table for table in tables if table not in written]
    beyond = [table for table in read if _may("INSERT, UPDATE, DELETE", table)]
    more = f"; may also write {', '.join(beyond)}, which runs do not need: {ROLE_SCRIPT} makes a role with less" if beyond else ""
    yield _DATABASE.ok(f"role {role} reads {', '.join(read)}; writes {', '.join(written)}{more}")


# Where ids come from, unless the column is an identity, for which the right to insert is enough.
SEQUENCES = """
SELECT DISTINCT dependency.refobjid::regclass::text
FROM pg_attrdef AS origin
JOIN pg_attribute AS id ON id.attrelid = origin.adrelid AND id.attnum = origin.adnum AND id.attidentity = ''
JOIN pg_depend AS dependency ON dependency.classid = 'pg_attrdef'::regclass AND dependency.objid = origin.oid
JOIN pg_class AS target ON dependency.refclassid = 'pg_class'::regclass AND target.oid = dependency.refobjid AND target.relkind = 'S'
WHERE origin.adrelid = 'gregory_predictionrunlog'::regclass
"""


def _indexes() -> Iterator[Finding]:
    indexed = "SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
    indexed += "WHERE indrelid = to_regclass(%s) AND attname = %s AND indisvalid AND indpred IS NULL)"
    for table, column in LOOKED_UP:
        if not _ask(indexed, table, column)[0][0]:
            yield _DATABASE.warning(
                f"no index of {table} begins with {column}: every training reads the whole table",
                f"as the owner of the tables: CREATE INDEX CONCURRENTLY ON {table} ({column});",
            )


def _may(rights: str, table: str) -> bool:
    """Whether this role has any of the rights."""
    return bool(_ask("SELECT has_table_privilege(%s, %s)", table, rights)[0][0])


def _ask(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else connection.ops.quote_name(name)
