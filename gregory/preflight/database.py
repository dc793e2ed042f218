"""Checks of the database: the connection, the generation of GregoryAI's tables, and the permissions of this role.

The remedy is the statement that the owner of the tables executes.
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
# Only preflight reads it. A run works without this permission.
RECORDS = "django_migrations"
READ, WRITTEN = ("SELECT",), ("SELECT", "INSERT", "UPDATE")


def _columns_of(model: type[Model]) -> frozenset[str]:
    return frozenset(field.column for field in model._meta.concrete_fields if field.column)


# Every table that commands and runs use, with its columns and the necessary permissions.
NEEDED: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "gregory_team": (_columns_of(Team), READ),
    "subjects": (_columns_of(Subject), READ),
    "articles": (frozenset({"article_id", "title", "summary", "discovery_date"}), READ),
    "articles_subjects": (_columns_of(Articles.subjects.through), READ),
    "gregory_articlesubjectrelevance": (_columns_of(ArticleSubjectRelevance), READ),
    "gregory_predictionrunlog": (_columns_of(PredictionRunLog), WRITTEN),
    RECORDS: (frozenset({"app", "name"}), READ),
    **{model._meta.db_table: (_columns_of(model), WRITTEN) for model in (TrainingRun, AlgorithmRun, RunEvent)},
}
OURS = frozenset(model._meta.db_table for model in (TrainingRun, AlgorithmRun, RunEvent))
# Columns by which a training selects its subject. Without an index, each training reads the whole table.
SUBJECT_COLUMNS = (("gregory_articlesubjectrelevance", "subject_id"), ("articles_subjects", "subject_id"))

# Columns that identify a generation, with the migration of GregoryAI that added each, in order.
ADDED_BY = (
    ("0003", "subjects", "auto_predict"),
    ("0007", "gregory_team", "name"),
    ("0018", "articles", "utitle"),
    ("0025", "subjects", "ml_consensus_type"),
    ("0034", "gregory_team", "site_id"),
    ("0039", "gregory_team", "is_active"),
)
# The migration of the column `algorithm`, by GregoryAI's name.
ALGORITHM = "gregory.0002_predictionrunlog_algorithm"
# A column of the oldest generation. This project's own migrations never created it.
OLDEST_COLUMN = ("articles", "takeaways")


def check_database() -> Iterator[Finding]:
    """Findings until an error that prevents further checks. Reads in one transaction and changes nothing."""
    try:
        with read_only_transaction():
            yield from _check()
    except (DatabaseError, InterfaceError) as error:
        yield _DATABASE.error(
            f"the database cannot be used: {' '.join(str(error).split())}", "check POSTGRES_DB, POSTGRES_USER, DB_HOST and the server"
        )


def _check() -> Iterator[Finding]:
    found = {table: schema.columns(table) for table in NEEDED}
    on_postgresql = connection.vendor == "postgresql"
    if on_postgresql:
        yield from _server()
    else:
        yield _DATABASE.ok(f"the SQLite file {settings.DATABASES['default']['NAME']}; use PostgreSQL in production")
    if theirs := [table for table in found if not found[table] and table not in OURS]:
        yield _DATABASE.error(
            f"the database has no table {', '.join(theirs)}: neither GregoryAI nor this project was migrated here, "
            "or this role has no permission for them",
            "check POSTGRES_DB, or run: python manage.py migrate",
        )
        return
    yield from _tables(found)
    unreadable = {RECORDS} if on_postgresql and not _has_permission("SELECT", RECORDS) else set()
    if unreadable:
        yield _DATABASE.warning(
            f"this role may not read {RECORDS}, so it is not known whether a migration is missing",
            f"as the owner of the tables: GRANT SELECT ON {RECORDS} TO {_role()};",
        )
    else:
        yield from _migrations()
    if on_postgresql:
        yield from _permissions([table for table in found if found[table] and table not in unreadable])
        yield from _indexes()


def _server() -> Iterator[Finding]:
    version, database, role, schema_name, standby = _query(
        "SELECT current_setting('server_version'), current_database(), current_user, current_schema(), pg_is_in_recovery()"
    )[0]
    yield _DATABASE.ok(f"PostgreSQL {version.split()[0]}, database {database}, role {role}")
    if schema_name is None:
        yield _DATABASE.error(
            f"role {role} has no permission for a schema of the database", f"as the owner: GRANT USAGE ON SCHEMA public TO {_quoted(role)};"
        )
    if standby:
        yield _DATABASE.error("the server is a standby and accepts no writes", "name the primary in DB_HOST")


def _tables(found: dict[str, frozenset[str]]) -> Iterator[Finding]:
    yield _DATABASE.ok(f"tables {_generation()}")
    for table, (columns, _) in NEEDED.items():
        if found[table] and (lacking := columns - found[table]):
            yield _DATABASE.error(
                f"table {table} has no column {', '.join(sorted(lacking))}",
                "list the open migrations with: python manage.py migrate --plan",
            )


def _generation() -> str:
    """A description of the tables' generation."""
    has = [number for number, table, column in ADDED_BY if column in schema.columns(table)]
    table, column = OLDEST_COLUMN
    if not has:
        as_specified = column in schema.columns(table)
        return "of GregoryAI as train_models was specified for it, in May 2025" if as_specified else "of this project's own migrations"
    if len(has) == len(ADDED_BY):
        return f"of GregoryAI since its migration {has[-1]}, as in August 2026"
    lacking = next(number for number, _, _ in ADDED_BY if number not in has)
    return f"of GregoryAI between its migrations: {has[-1]} is there, {lacking} is not"


def _migrations() -> Iterator[Finding]:
    executor = MigrationExecutor(connection)
    pending = [f"{migration.app_label}.{migration.name}" for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    if not pending:
        yield _DATABASE.ok("every migration is recorded")
        return
    remedy = "as the owner of the tables: python manage.py migrate"
    if ALGORITHM in pending and "algorithm" in schema.columns(PredictionRunLog._meta.db_table):
        # GregoryAI numbered its migrations anew, and this database has the column by one of the former numbers.
        record = f"python manage.py migrate --fake {ALGORITHM.replace('.', ' ')}"
        remedy = f"the column of {ALGORITHM} is there and not recorded; as the owner of the tables: {record}, then python manage.py migrate"
    elif any(not name.startswith("gregory_runs.") for name in pending):
        remedy = f"this is normal if GregoryAI has not yet run the migrations of other apps; {remedy} --plan, then without --plan"
    yield _DATABASE.error(f"not migrated yet: {', '.join(pending)}", remedy)


def _permissions(tables: list[str]) -> Iterator[Finding]:
    role = _role()
    lacking = []
    for table in tables:
        permissions = [permission for permission in NEEDED[table][1] if not _suffices(permission, table)]
        if permissions:
            lacking.append(f"GRANT {', '.join(permissions)} ON {table} TO {role};")
    for (sequence,) in _query(SEQUENCES):
        if not _query("SELECT has_sequence_privilege(%s, 'USAGE')", sequence)[0][0]:
            lacking.append(f"GRANT USAGE ON SEQUENCE {sequence} TO {role};")
    for grant in lacking:
        yield _DATABASE.error(f"role {role} lacks a permission that runs need", f"as the owner of the tables: {grant}")
    if lacking:
        return
    written = [table for table in tables if NEEDED[table][1] == WRITTEN]
    read = [table for table in tables if table not in written]
    beyond = [table for table in read if _has_permission("INSERT, UPDATE, DELETE", table)]
    more = (
        f"; may also write {', '.join(beyond)}, which runs do not need; {ROLE_SCRIPT} creates a role with fewer permissions"
        if beyond
        else ""
    )
    yield _DATABASE.ok(f"role {role} reads {', '.join(read)}; writes {', '.join(written)}{more}")


# The sequences of id columns. An identity column needs no further permission than INSERT.
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
    for table, column in SUBJECT_COLUMNS:
        if not _query(indexed, table, column)[0][0]:
            yield _DATABASE.warning(
                f"no index of {table} begins with {column}: every training reads the whole table",
                f"as the owner of the tables: CREATE INDEX CONCURRENTLY ON {table} ({column});",
            )


def _has_permission(permissions: str, table: str) -> bool:
    """Whether this role has one of the permissions."""
    return bool(_query("SELECT has_table_privilege(%s, %s)", table, permissions)[0][0])


def _suffices(permission: str, table: str) -> bool:
    """Whether this role has the permission for the table, or for each of its columns that runs use."""
    columns = NEEDED[table][0] if permission == "SELECT" else NEEDED[table][0] - {"id"}  # The database gives the id.
    statement = "SELECT bool_and(has_column_privilege(attrelid, attnum, %s)) FROM pg_attribute "
    statement += "WHERE attrelid = to_regclass(%s) AND attname = ANY(%s) AND NOT attisdropped"
    return bool(_query(statement, permission, table, list(columns))[0][0])


def _role() -> str:
    return _quoted(_query("SELECT current_user")[0][0])


def _query(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else connection.ops.quote_name(name)
