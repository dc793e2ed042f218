"""Checks of the database: the connection, the generation of GregoryAI's tables, and the permissions of this role.

The remedy is the statement that the owner of the tables executes.
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor

from gregory.data import schema
from gregory.database import encryption
from gregory.models import PredictionRunLog
from gregory.output import one_line
from gregory.preflight.finding import Area, Finding
from gregory.preflight.permissions import (
    COMMANDS,
    PAGES,
    RECORDS,
    RUN,
    Needs,
    Query,
    columns_of,
    is_written,
    missing_grants,
)
from gregory.preflight.predictions import own_predictions
from gregory.runs.db_retry import read_only_transaction

_DATABASE = Area("database")
ROLE_SCRIPT = "docs/sql/least-privilege.sql"
PAGES_SCRIPT = "docs/sql/operator-pages.sql"
# The apps of this project. All other tables are GregoryAI's.
APPS = ("gregory_runs", "gregory_data")
OURS = frozenset(model._meta.db_table for label in APPS for model in apps.get_app_config(label).get_models())
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


def check_database(*, as_run: bool = False) -> Iterator[Finding]:
    """Findings until an error that prevents further checks. Reads in one transaction and changes nothing.

    as_run: the role of this process is that of runs, and needs no more. Otherwise a role of the runs is checked too, if there is one.
    """
    try:
        with read_only_transaction():
            yield from _check(RUN if as_run else COMMANDS)
    except (DatabaseError, InterfaceError) as error:
        yield _unusable(error, "POSTGRES_USER")
        return
    if not as_run and settings.ENVIRONMENT.POSTGRES_RUN_USER and connection.vendor == "postgresql":
        yield from _role_of_runs()


def _unusable(error: Exception, variable: str) -> Finding:
    message = one_line(str(error))
    remedy = encryption.remedy(message) or f"check POSTGRES_DB, {variable}, DB_HOST and the server"
    return _DATABASE.error(f"the database cannot be used: {message}", remedy)


def _check(needs: Needs) -> Iterator[Finding]:
    found = {table: schema.columns(table) for table in COMMANDS}
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
    readable = not on_postgresql or not list(missing_grants(_query, {RECORDS: needs[RECORDS]}, role=""))
    if readable:
        yield from _migrations()
    else:
        yield _DATABASE.warning(
            f"this role may not read {RECORDS}, so it is not known whether a migration is missing",
            f"as the owner of the tables: GRANT SELECT ON {RECORDS} TO {_role()};",
        )
    if on_postgresql:
        yield from _permissions({table: needs[table] for table in needs if found[table] and (readable or table != RECORDS)}, _query)
        if settings.ENVIRONMENT.GREGORY_WEB_URL:
            yield from _role_of_pages()
        yield from _indexes()
    if readable and not any(not found[table] for table in OURS):
        yield from own_predictions(_DATABASE)


def _role_of_runs() -> Iterator[Finding]:
    """The role of the runs, on a connection of its own."""
    other = connection.copy()
    role, password = settings.ENVIRONMENT.POSTGRES_RUN_USER, settings.ENVIRONMENT.POSTGRES_RUN_PASSWORD.get_secret_value()
    other.settings_dict = {**other.settings_dict, "USER": role, "PASSWORD": password}

    def query(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with other.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())

    try:
        yield from _permissions({table: permissions for table, permissions in RUN.items() if table != RECORDS}, query)
    except (DatabaseError, InterfaceError) as error:
        yield _unusable(error, "POSTGRES_RUN_USER")
    finally:
        other.close()


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
    for table, columns in columns_of(COMMANDS).items():
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
    elif any(not name.startswith(tuple(f"{label}." for label in APPS)) for name in pending):
        remedy = f"this is normal if GregoryAI has not yet run the migrations of other apps; {remedy} --plan, then without --plan"
    yield _DATABASE.error(f"not migrated yet: {', '.join(pending)}", remedy)


def _permissions(needs: Needs, query: Query) -> Iterator[Finding]:
    role = _quoted(query("SELECT current_user")[0][0])
    lacking = list(missing_grants(query, needs, role=role))
    for grant in lacking:
        yield _DATABASE.error(f"role {role} lacks a permission that runs need", f"as the owner of the tables: {grant}")
    if lacking:
        return
    written = [table for table in needs if is_written(needs[table])]
    read = [table for table in needs if table not in written]
    beyond = [table for table in read if query("SELECT has_table_privilege(%s, 'INSERT, UPDATE, DELETE')", table)[0][0]]
    more = (
        f"; may also write {', '.join(beyond)}, which runs do not need; {ROLE_SCRIPT} creates a role with fewer permissions"
        if beyond
        else ""
    )
    yield _DATABASE.ok(f"role {role} reads {', '.join(read)}; writes {', '.join(written)}{more}")


def _role_of_pages() -> Iterator[Finding]:
    if lacking := list(missing_grants(_query, PAGES, role=_role())):
        yield _DATABASE.warning(
            f"role {_role()} lacks permissions that the operator pages need: {' '.join(lacking)}",
            f"run {PAGES_SCRIPT}, and give python -m gregory.web the role gregory_web",
        )
    else:
        yield _DATABASE.ok(f"role {_role()} reads the accounts, as the operator pages need")


def _indexes() -> Iterator[Finding]:
    indexed = "SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
    indexed += "WHERE indrelid = to_regclass(%s) AND attname = %s AND indisvalid AND indpred IS NULL)"
    for table, column in SUBJECT_COLUMNS:
        if not _query(indexed, table, column)[0][0]:
            yield _DATABASE.warning(
                f"no index of {table} begins with {column}: every training reads the whole table",
                f"as the owner of the tables: CREATE INDEX CONCURRENTLY ON {table} ({column});",
            )


def _role() -> str:
    return _quoted(_query("SELECT current_user")[0][0])


def _query(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else connection.ops.quote_name(name)
