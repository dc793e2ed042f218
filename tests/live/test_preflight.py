"""preflight on databases of GregoryAI: generation, missing parts, and grants of exactly the missing permissions."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.live.database import ROLE, ROLE_PASSWORD, SCHEMAS, LiveDatabase, live
from tools.installation import Installation
from tools.postgresql import Server

GENERATIONS = {
    "as_specified": "tables of GregoryAI as train_models was specified for it, in May 2025",
    "newest": "tables of GregoryAI since its migration 0039, as in August 2026",
    "long_lived": "tables of GregoryAI as train_models was specified for it, in May 2025",
}


def findings(installation: Installation, *, code: int) -> list[dict[str, Any]]:
    done = installation.manage("preflight", "--only", "database", "--output", "json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def words(found: list[dict[str, Any]], verdict: str) -> list[str]:
    return [finding["words"] for finding in found if finding["verdict"] == verdict]


@pytest.fixture
def role(postgresql_server: Server) -> None:
    """A role without permissions."""
    with postgresql_server.connect() as connection:
        connection.execute(f"DROP ROLE IF EXISTS {ROLE}_bare")
        connection.execute(f"CREATE ROLE {ROLE}_bare LOGIN PASSWORD '{ROLE_PASSWORD}'")


def site_of(database: LiveDatabase, folder: Path, **environment: str) -> Installation:
    return Installation(folder, environment={**database.environment(), **environment})


@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_finding_has_a_remedy_and_the_grants_are_exact(schema: str, role: None, postgresql_server: Server, tmp_path: Path):
    database = live(postgresql_server, schema)
    owner = site_of(database, tmp_path / "owner")
    bare = site_of(database, tmp_path / "bare", POSTGRES_USER=f"{ROLE}_bare", POSTGRES_PASSWORD=ROLE_PASSWORD)

    before = findings(owner, code=1)
    owner.must("migrate", "-v0")
    without = findings(bare, code=1)
    for finding in without:
        if "GRANT" in finding["remedy"]:
            (grant,) = re.findall(r"as the owner of the tables: (GRANT [^;]+;)$", finding["remedy"])
            database.execute(grant)
    granted = findings(bare, code=0)
    after = findings(owner, code=0)

    assert GENERATIONS[schema] in words(before, "ok")
    pending = "gregory.0002_predictionrunlog_algorithm, " if schema == "long_lived" else ""
    assert words(before, "error")[-1].startswith(f"not migrated yet: {pending}gregory_runs.0001_initial, gregory_runs.0002_")
    assert words(granted, "error") == []
    (able,) = [word for word in words(granted, "ok") if word.startswith("role ")]
    assert able == (
        "role gregory_train_bare reads gregory_team, subjects, articles, articles_subjects, gregory_articlesubjectrelevance, "
        "django_migrations; writes gregory_predictionrunlog, gregory_runs_trainingrun, gregory_runs_algorithmrun, gregory_runs_runevent"
    )
    sequences = [finding["remedy"] for finding in without if "SEQUENCE" in finding["remedy"]]
    if schema == "long_lived":
        grant = "as the owner of the tables: GRANT USAGE ON SEQUENCE run_log_numbers TO gregory_train_bare;"
        assert sequences == [grant]
        assert "table gregory_predictionrunlog has no column algorithm" in words(before, "error")
        assert words(after, "warning") == [
            "no index of gregory_articlesubjectrelevance begins with subject_id: every training reads the whole table",
            "no index of articles_subjects begins with subject_id: every training reads the whole table",
        ]
    else:
        assert sequences == words(after, "warning") == []
    assert "may also write gregory_team, subjects, articles" in words(after, "ok")[-1]
    # The script grants exactly the permissions that preflight requires.
    database.grant()
    assert sorted(_grants(database, ROLE)) == sorted(_grants(database, f"{ROLE}_bare"))
    database.execute(f"DROP OWNED BY {ROLE}_bare; DROP ROLE {ROLE}_bare")


def test_a_role_with_all_that_runs_need_is_accepted(role: None, postgresql_server: Server, tmp_path: Path):
    """Permissions for columns are enough, and only preflight reads the records of migrations."""
    database = live(postgresql_server, "as_specified")
    site_of(database, tmp_path / "owner").must("migrate", "-v0")
    database.grant()
    columns = "article_id, title, summary, discovery_date"
    database.execute(f"REVOKE SELECT ON articles, django_migrations FROM {ROLE}; GRANT SELECT ({columns}) ON articles TO {ROLE}")
    run = site_of(database, tmp_path / "run", POSTGRES_USER=ROLE, POSTGRES_PASSWORD=ROLE_PASSWORD)

    accepted = findings(run, code=0)
    database.execute(f"REVOKE SELECT (summary) ON articles FROM {ROLE}")
    refused = findings(run, code=1)

    records = "this role may not read django_migrations, so it is not known whether a migration is missing"
    assert words(accepted, "error") == []
    assert words(accepted, "warning") == [records]
    assert "reads gregory_team, subjects, articles, articles_subjects, gregory_articlesubjectrelevance; " in words(accepted, "ok")[-1]
    assert [finding["remedy"] for finding in refused if finding["verdict"] == "error"] == [
        f"as the owner of the tables: GRANT SELECT ON articles TO {ROLE};"
    ]


def _grants(database: LiveDatabase, role: str) -> list[tuple[str, str]]:
    statement = "SELECT relname, right_.privilege_type FROM pg_class, aclexplode(relacl) AS right_ WHERE right_.grantee = %s::regrole"
    return database.execute(statement, [role])


def test_an_empty_database_and_one_that_is_away(postgresql_server: Server, tmp_path: Path):
    postgresql_server.create("preflight_empty")
    environment = {**postgresql_server.environment("preflight_empty")}

    empty = findings(Installation(tmp_path / "empty", environment=environment), code=1)
    away = findings(Installation(tmp_path / "away", environment={**environment, "DB_PORT": "1"}), code=1)

    assert words(empty, "error")[0].startswith("the database has no table gregory_team, subjects, articles, ")
    (trouble,) = away
    assert trouble["words"].startswith("the database cannot be used: ")
    assert trouble["remedy"] == "check POSTGRES_DB, POSTGRES_USER, DB_HOST and the server"


def test_on_the_embedded_file(installation: Installation):
    assert [finding["verdict"] for finding in findings(installation, code=0)] == ["ok"] * 3
