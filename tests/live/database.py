"""Databases with the tables of one generation of the GregoryAI schema, filled, on a real server."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from tests import roles
from tests.articles import labelled
from tools.postgresql import Server

# A parameter of fixtures and tests: the fast tier has the newest schema.
SCHEMAS = ["newest", *(pytest.param(schema, marks=pytest.mark.slow) for schema in ("as_specified", "long_lived"))]
LABELLED = 120
SCHEMA_FOLDER = Path(__file__).parent / "schemas"

# Values that the code of GregoryAI writes, because the database has no default. A generation may lack the column.
GREGORYAIS_DEFAULTS: dict[str, dict[str, Any]] = {
    "articles": {
        "kind": "science paper", "retracted": False, "relevant": False, "links": "[]",
        "authors_attempts": 0, "details_attempts": 0, "doi_lookup_attempts": 0,
    },
    "subjects": {"auto_predict": True, "ml_consensus_type": "any"},
    "gregory_team": {"is_active": True, "name": "a team"},
    "gregory_predictionrunlog": {"algorithm": "unknown"},
}  # fmt: skip

# Every definition, with its name, because scripts of a live system may use the names.
CATALOG = """
WITH here AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace)
SELECT 'column', relname, attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
       || ' ' || attidentity::text || attgenerated::text || ' ' || coalesce(pg_get_expr(adbin, adrelid), '')
  FROM here JOIN pg_attribute ON attrelid = here.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = here.oid AND adnum = attnum WHERE relkind <> 'i'
UNION ALL SELECT 'constraint', relname, conname || ' ' || pg_get_constraintdef(pg_constraint.oid)
  FROM here JOIN pg_constraint ON conrelid = here.oid
UNION ALL SELECT 'index', relname, pg_get_indexdef(indexrelid) FROM here JOIN pg_index ON indrelid = here.oid
UNION ALL SELECT 'trigger', relname, pg_get_triggerdef(pg_trigger.oid) FROM here JOIN pg_trigger ON tgrelid = here.oid AND NOT tgisinternal
UNION ALL SELECT 'sequence', sequencename, coalesce(last_value::text, 'unused') FROM pg_sequences WHERE schemaname = 'public'
UNION ALL SELECT 'owner and grants', relname, pg_get_userbyid(relowner) || ' ' || coalesce(relacl::text, '') FROM here WHERE relkind <> 'i'
"""
OURS = ("gregory_runs_", "gregory_data_")
# Tables of Django, which get rows of this project beside those of GregoryAI.
RECORDS = ("django_migrations", "django_content_type", "auth_permission")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDatabase:
    """One database of a server."""

    server: Server
    name: str

    def execute(self, statement: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement, or several without parameters, in one transaction, as the owner. Returns the rows of the last."""
        with self.server.connect(self.name) as connection, connection.transaction():
            cursor = connection.execute(statement, tuple(parameters) or None)
            return cursor.fetchall() if cursor.description else []

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        """Insert rows, with the values that the code of GregoryAI adds in this generation."""
        columns = {name for (name,) in self.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])}
        defaults = {name: value for name, value in GREGORYAIS_DEFAULTS.get(table, {}).items() if name in columns}
        filled = [{**defaults, **{name: value for name, value in row.items() if name in columns}} for row in rows]
        names = list(filled[0])
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL(", ").join(sql.Placeholder() * len(names))
        )
        with self.server.connect(self.name) as connection:
            connection.cursor().executemany(statement, [[row[name] for name in names] for row in filled])

    def has(self, table: str, column: str) -> bool:
        """Whether this generation has the column."""
        asked = "SELECT 1 FROM information_schema.columns WHERE table_name = %s AND column_name = %s"
        return bool(self.execute(asked, [table, column]))

    def add_labelled(self, count: int, *, first: int) -> None:
        """More reviewed articles of the subject, discovered now."""
        rows, now = labelled(count, first=first), datetime.now(UTC)
        articles = [{"article_id": row.article_id, "title": row.title, "summary": row.summary} for row in rows]
        self.insert("articles", *({**row, "link": f"urn:article:{row['article_id']}", "discovery_date": now} for row in articles))
        reviews = [{"article_id": row.article_id, "subject_id": 1, "is_relevant": row.relevant == "1"} for row in rows]
        self.insert("gregory_articlesubjectrelevance", *reviews)
        self.insert("articles_subjects", *({"articles_id": row.article_id, "subject_id": 1} for row in rows))

    def clone(self) -> "LiveDatabase":
        """A copy of this database."""
        copy = LiveDatabase(server=self.server, name=f"live_{uuid4().hex[:12]}")
        self.server.create(copy.name, template=self.name)
        return copy

    def environment(self, *, role: bool = False) -> dict[str, str]:
        """The environment variables for the owner. role: for the role of the commands, with that of the runs."""
        environment = self.server.environment(self.name)
        if not role:
            return environment
        return {**environment, **roles.OF_COMMANDS, **roles.OF_RUNS}

    def grant(self) -> None:
        """Create the roles with the least privileges."""
        roles.grant(self.server, self.name)

    def catalog(self) -> set[tuple[str, str, str]]:
        """Every definition of GregoryAI, and the value of each sequence."""
        moving = {("sequence", f"{table}_id_seq") for table in RECORDS}
        return {entry for entry in self.execute(CATALOG) if not any(name in entry[1] for name in OURS) and entry[:2] not in moving}

    def rows(self) -> dict[str, str]:
        """A digest of the rows of every table of GregoryAI."""
        tables = self.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        names = [name for (name,) in tables if not name.startswith(OURS) and name not in RECORDS]
        digest = "SELECT coalesce(md5(string_agg(row::text, E'\\n' ORDER BY row::text)), 'empty') FROM {} AS row"
        return {name: self.execute(digest.format(name))[0][0] for name in names}

    def records(self) -> dict[str, set[str]]:
        """The rows of the tables of Django, each as a text."""
        return {table: {text for (text,) in self.execute(f"SELECT row::text FROM {table} AS row")} for table in RECORDS}


def live(server: Server, schema: str) -> LiveDatabase:
    """A database of that generation with a team, a subject with enough labelled articles, and each odd row seen in a live database."""
    database = LiveDatabase(server=server, name=f"live_{uuid4().hex[:12]}")
    server.create(database.name)
    for name in ("django", schema):
        database.execute((SCHEMA_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
    now = datetime.now(UTC)
    database.insert(
        "organizations_organization",
        *({"name": name, "slug": name, "is_active": True, "created": now, "modified": now} for name in ("clinic", "archive")),
    )
    database.insert(
        "gregory_team",
        {"slug": "neurology", "organization_id": 1, "name": "Neurology", "is_active": True},
        {"slug": "archive", "organization_id": 2, "name": "Archive", "is_active": False},
    )
    database.insert(
        "subjects",
        {"subject_name": "MS", "subject_slug": "ms", "team_id": 1},
        {"subject_name": "MS", "subject_slug": "ms", "team_id": 2},
        {"subject_name": "Nobody's", "subject_slug": "nobodys", "team_id": None},
    )
    if schema == "long_lived":
        database.insert("subjects", {"subject_name": "Lost", "subject_slug": "lost", "team_id": 99})
    _articles(database, schema, now)
    today = f"{now:%Y%m%d}"
    database.insert(
        "gregory_predictionrunlog",
        *(
            {"team_id": 1, "subject_id": 1, "model_version": version, "algorithm": "lgbm_tfidf", "run_type": "train", "run_started": now}
            for version in ("pending", "", today, f"{today}_2")
        ),
    )
    return database


def _articles(database: LiveDatabase, schema: str, now: datetime) -> None:
    summaries = {200: None, 201: "", 202: "<p>Lesion &amp; relapse</p>\r\n<p>seen</p>", 203: "myelin " * 4000, 204: "not in the subject"}
    formula = {"article_id": 205, "title": "=HYPERLINK(&quot;x&quot;)", "summary": "@lesion, told of &amp;lt;b&amp;gt; as it stands"}
    rows = [{"article_id": row.article_id, "title": row.title, "summary": row.summary} for row in labelled(LABELLED, first=1)]
    rows += [{"article_id": number, "title": f"Odd {number}", "summary": summary} for number, summary in summaries.items()]
    rows += [formula, {"article_id": 300, "title": "Nobody has looked at this", "summary": "weather"}]
    database.insert("articles", *({**row, "link": f"urn:article:{row['article_id']}", "discovery_date": now} for row in rows))
    reviews = [{"article_id": row.article_id, "subject_id": 1, "is_relevant": row.relevant == "1"} for row in labelled(LABELLED, first=1)]
    reviews += [{"article_id": number, "subject_id": 1, "is_relevant": number % 2 == 0} for number in (*summaries, 205)]
    if schema == "newest":
        reviews.append({"article_id": 300, "subject_id": 1, "is_relevant": None})
    database.insert("gregory_articlesubjectrelevance", *reviews)
    members = [*range(1, LABELLED + 1), 200, 201, 202, 203, 205, 300]
    database.insert("articles_subjects", *({"articles_id": number, "subject_id": 1} for number in members))
    # Article 200 is in the subject and not in its team.
    database.insert("articles_teams", *({"articles_id": number, "team_id": 1} for number in members if number != 200))
