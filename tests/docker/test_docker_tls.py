"""TLS to the database from a container: a server with a certificate of a private authority, which refuses other connections."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.articles import labelled, store
from tests.docker.installations import of_containers
from tests.plain_server import listening
from tools import postgresql
from tools.docker_engine import Engine
from tools.installation import Installation, create_migrated
from tools.postgresql_tls import encrypted

pytestmark = pytest.mark.slow

TRAIN = ("train_models", "--team", "t", "--all-articles", "--algo", "lgbm_tfidf")


@pytest.fixture
def installation(
    postgresql_server: postgresql.Server, docker_engine: Engine, small_image: str, small_bundle: Path, tmp_path: Path
) -> Iterator[Installation]:
    """An installation whose runs are containers and check the server of their database."""
    database = f"tls_{uuid4().hex[:12]}"
    create_migrated(postgresql_server, database)
    with encrypted(postgresql_server, database, names="IP:127.0.0.1") as authority:
        variables = {**postgresql_server.environment(database), "DB_SSLMODE": "verify-full", "DB_SSLROOTCERT": str(authority)}
        folder = tmp_path / "installation"
        with of_containers(folder, docker_engine, image=small_image, bundle=small_bundle, database=variables) as installation:
            store(installation, labelled(24, first=1), subject="s")
            yield installation


def test_a_container_checks_the_server(installation: Installation):
    installation.must(*TRAIN)

    assert [(row["success"], row["runner"]) for row in installation.rows()] == [(True, "docker")]


def test_a_container_without_encryption_costs_no_row(installation: Installation):
    # The command itself is still encrypted: DB_SSLMODE takes precedence over libpq's own variable.
    installation.environment |= {"GREGORY_DOCKER_DB_HOST": "localhost"}

    done = installation.manage(*TRAIN)

    assert done.returncode == 1
    assert "in a container for a run: the database cannot be used: " in done.stderr
    assert 'does not match host name "localhost"' in done.stderr
    assert installation.rows() == []


def test_the_trial_container_sends_no_password_to_another_server(installation: Installation):
    changes = {"GREGORY_DOCKER_DB_HOST": "127.0.0.2", "DB_SSLMODE": "prefer", "DB_SSLROOTCERT": ""}
    installation.environment |= changes | {"PGSSLMODE": "prefer"}
    with listening("127.0.0.2", int(installation.environment["DB_PORT"])) as server:
        done = installation.manage(*TRAIN)

    assert done.returncode == 1
    assert "in a container for a run: the database cannot be used: " in done.stderr
    assert "server requested a cleartext password; no password was sent" in done.stderr
    assert (server.sessions > 0, server.passwords) == (True, [])
    assert installation.rows() == []
