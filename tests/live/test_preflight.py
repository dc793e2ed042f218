"""preflight on databases of GregoryAI: generation, missing parts, and grants of exactly the missing permissions."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.database import SCHEMAS, LiveDatabase, live
from tests.roles import ROLE, ROLE_PASSWORD, RUN_ROLE
from tools.installation import Installation
from tools.postgresql import Server

GENERATIONS = {
    "as_specified": "tables of GregoryAI as train_models was specified for it, in May 2025",
    "newest": "tables of GregoryAI since its migration 0039, as in August 2026",
    "long_lived": "tables of GregoryAI as train_models was specified for it, in May 2025",
}
# The databases in which a role has a right.
WITH_RIGHTS = "FROM pg_database JOIN pg_shdepend ON dbid = pg_database.oid JOIN pg_roles ON refobjid = pg_roles.oid WHERE rolname = %s"


def findings(installation: Installation, *flags: str, code: int) -> list[dict[str, Any]]:
    done = installation.manage("preflight", "--only", "database", "--output", "json", *flags)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def words(found: list[dict[str, Any]], verdict: str) -> list[str]:
    return [finding["words"] for finding in found if finding["verdict"] == verdict]


@pytest.fixture
def role(postgresql_server: Server) -> Iterator[None]:
    """A role without permissions. It is removed together with those that the test gives it."""
    with postgresql_server.connect() as connection:
        connection.execute(f"CREATE ROLE {ROLE}_bare LOGIN PASSWORD '{ROLE_PASSWORD}'")
        yield
        for (name,) in connection.execute(f"SELECT DISTINCT datname {WITH_RIGHTS}", [f"{ROLE}_bare"]).fetchall():
            with postgresql_server.connect(name) as database:
                database.execute(f"DROP OWNED BY {ROLE}_bare")
        connection.execute(f"DROP ROLE {ROLE}_bare")


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
    assert words(before, "error")[-1].startswith(f"not migrated yet: {pending}gregory_data.0001_initial, gregory_runs.0001_initial, ")
    assert words(granted, "error") == []
    (able,) = [word for word in words(granted, "ok") if word.startswith("role ")]
    assert able == (
        "role gregory_train_bare reads gregory_team, subjects, articles, articles_subjects, gregory_articlesubjectrelevance, "
        "gregory_data_importedarticle, django_migrations; writes gregory_predictionrunlog, "
        "gregory_runs_trainingrun, gregory_runs_algorithmrun, gregory_runs_runevent, "
        "gregory_runs_operatoraction"
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
    assert granted_columns(database, ROLE) == granted_columns(database, f"{ROLE}_bare")


def test_the_grants_for_a_role_of_runs_are_exact(role: None, postgresql_server: Server, tmp_path: Path):
    database = live(postgresql_server, "newest")
    site_of(database, tmp_path / "owner").must("migrate", "-v0")
    bare = site_of(database, tmp_path / "bare", POSTGRES_USER=f"{ROLE}_bare", POSTGRES_PASSWORD=ROLE_PASSWORD)

    without = findings(bare, "--as-run", code=1)
    for finding in without:
        if "GRANT" in finding["remedy"]:
            database.execute(finding["remedy"].partition("as the owner of the tables: ")[2])
    granted = findings(bare, "--as-run", code=0)

    assert (words(granted, "error"), words(granted, "warning")) == ([], [])
    assert words(granted, "ok")[-1] == (
        "role gregory_train_bare reads subjects, articles, articles_subjects, gregory_articlesubjectrelevance, django_migrations; "
        "writes gregory_predictionrunlog, gregory_runs_trainingrun, gregory_runs_algorithmrun, gregory_runs_runevent"
    )
    database.grant()
    assert granted_columns(database, RUN_ROLE) == granted_columns(database, f"{ROLE}_bare")


def test_both_roles_of_an_installation_are_checked(postgresql_server: Server, tmp_path: Path):
    database = live(postgresql_server, "as_specified")
    site_of(database, tmp_path / "owner").must("migrate", "-v0")
    database.grant()
    installation = Installation(tmp_path / "roles", environment=database.environment(role=True))

    accepted = findings(installation, code=0)
    database.execute(f"REVOKE SELECT (summary) ON articles FROM {RUN_ROLE}")
    refused = findings(installation, code=1)
    installation.environment["POSTGRES_RUN_PASSWORD"] = "another"
    wrong = findings(installation, code=1)

    assert [word.split()[1] for word in words(accepted, "ok") if word.startswith("role ")] == [ROLE, RUN_ROLE]
    assert [finding["remedy"] for finding in refused if finding["verdict"] == "error"] == [
        f"as the owner of the tables: GRANT SELECT (summary) ON articles TO {RUN_ROLE};"
    ]
    (error,) = [finding for finding in wrong if finding["verdict"] == "error"]
    assert f'password authentication failed for user "{RUN_ROLE}"' in error["words"]
    assert error["remedy"] == "check POSTGRES_DB, POSTGRES_RUN_USER, DB_HOST and the server"


def test_only_preflight_reads_the_records_of_migrations(postgresql_server: Server, tmp_path: Path):
    database = live(postgresql_server, "as_specified")
    site_of(database, tmp_path / "owner").must("migrate", "-v0")
    database.grant()
    database.execute(f"REVOKE SELECT ON django_migrations FROM {ROLE}")

    accepted = findings(Installation(tmp_path / "roles", environment=database.environment(role=True)), code=0)

    assert words(accepted, "error") == []
    assert words(accepted, "warning") == ["this role may not read django_migrations, so it is not known whether a migration is missing"]


def granted_columns(database: LiveDatabase, role: str) -> dict[str, set[tuple[str, str]]]:
    """Each column and each permission for it, by table. Permissions that no column can have are refused."""
    statement = """
    SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges WHERE grantee = %(role)s
    UNION SELECT relname, '', privilege_type FROM pg_class, aclexplode(relacl)
      WHERE grantee = %(role)s::regrole AND privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE')
    """
    found: dict[str, set[tuple[str, str]]] = {}
    with database.server.connect(database.name) as connection:
        for table, column, permission in connection.execute(statement, {"role": role}):
            found.setdefault(table, set()).add((column, permission))
    return found


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
