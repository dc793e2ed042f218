"""TLS to the database: a server with a certificate of a private authority, which refuses other connections. A local run."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.articles import labelled, store
from tools import postgresql
from tools.installation import Installation
from tools.postgresql_tls import encrypted

TRAIN = ("train_models", "--team", "t", "--all-articles", "--algo", "lgbm_tfidf")


@pytest.fixture
def installation(postgresql_server: postgresql.Server, small_bundle: Path, tmp_path: Path) -> Iterator[Installation]:
    """An installation that checks the server of its database."""
    database = f"tls_{uuid4().hex[:12]}"
    postgresql_server.create(database)
    with encrypted(postgresql_server, database, names="IP:127.0.0.1") as authority:
        tls = {"DB_SSLMODE": "verify-full", "DB_SSLROOTCERT": str(authority)}
        environment = {"GREGORY_BASE_MODELS": str(small_bundle), **postgresql_server.environment(database), **tls}
        yield Installation(tmp_path / "installation", environment=environment)


@pytest.mark.slow
def test_a_local_run_checks_the_server(installation: Installation):
    installation.must("migrate", "-v0")
    store(installation, labelled(24, first=1), subject="s")

    installation.must(*TRAIN)

    assert [row["success"] for row in installation.rows()] == [True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DB_SSLMODE": "disable"}, "no encryption"),
        ({"DB_HOST": "localhost"}, 'does not match host name "localhost"'),
        ({"DB_SSLROOTCERT": "/nowhere/ca.crt"}, 'root certificate file "/nowhere/ca.crt" does not exist'),
    ],
)
def test_another_connection_is_refused(installation: Installation, changes: dict[str, str], message: str):
    done = installation.manage("preflight", "--only", "database", **changes)

    assert done.returncode == 1
    assert message in done.stdout, done.stdout + done.stderr


def test_a_wrong_mode_is_named(installation: Installation):
    done = installation.manage("preflight", "--only", "database", DB_SSLMODE="verify_full")

    assert done.returncode == 1
    assert "environment variable DB_SSLMODE: String should match pattern" in done.stderr
