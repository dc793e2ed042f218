"""TLS to the database from a container: a server with a certificate of a private authority, which refuses other connections."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.articles import labelled, store
from tools import postgresql
from tools.docker_engine import Engine
from tools.installation import Installation
from tools.postgresql_tls import encrypted

pytestmark = pytest.mark.slow

TRAIN = ("train_models", "--team", "t", "--all-articles", "--algo", "lgbm_tfidf")


@pytest.fixture
def installation(
    postgresql_server: postgresql.Server, docker_engine: Engine, small_image: str, small_bundle: Path, tmp_path: Path
) -> Iterator[Installation]:
    """An installation whose runs are containers and check the server of their database."""
    database = f"tls_{uuid4().hex[:12]}"
    postgresql_server.create(database)
    with encrypted(postgresql_server, database, names="IP:127.0.0.1") as authority:
        environment = {
            "DOCKER_HOST": docker_engine.host,
            "GREGORY_RUNNER": "docker",
            "GREGORY_DOCKER_IMAGE": small_image,
            "GREGORY_DOCKER_NETWORK": "host",
            "GREGORY_BASE_MODELS": str(small_bundle),
            **postgresql_server.environment(database),
            "DB_SSLMODE": "verify-full",
            "DB_SSLROOTCERT": str(authority),
        }
        installation = Installation(tmp_path / "installation", environment=environment)
        # Containers read the folders as another user, and pytest's temporary folders are private.
        for folder in (*installation.models.parents, *small_bundle.parents):
            if folder.is_relative_to(tempfile.gettempdir()) and folder.stat().st_mode & 0o077 == 0:
                folder.chmod(0o755)
        os.chown(installation.models, 12345, 12345)
        installation.must("migrate", "-v0")
        store(installation, labelled(24, first=1), subject="s")
        yield installation
        docker_engine.remove_containers()


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
