"""compose.yaml passes the settings of the database connection to its containers."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gregory.env import DATABASE_VARIABLES, LIBPQ_VARIABLES, SSL_MODE, SSL_ROOT_CERTIFICATE
from tests.strict import need
from tools.docker_engine import COMPOSE
from tools.installation import REPOSITORY

FILE = REPOSITORY / "compose.yaml"
JOBS = ("train", "reconcile", "migrate", "manage")
CERTIFICATES = "/srv/authority.crt"


def resolved(**variables: str) -> dict[str, Any]:
    """The services as docker-compose reads them, with these variables in its shell."""
    need(Path(COMPOSE).exists(), what="docker-compose", remedy="apt-get install docker-compose")
    environment = {"PATH": "/usr/bin:/bin", "POSTGRES_PASSWORD": "test-only", **variables}
    done = subprocess.run([COMPOSE, "--file", str(FILE), "config"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def certificates(service: dict[str, Any]) -> list[tuple[str, str, bool]]:
    mounts = [mount for mount in service["volumes"] if isinstance(mount, dict)]
    return [(mount["source"], mount["target"], mount["read_only"]) for mount in mounts]


@pytest.mark.parametrize("name", JOBS)
def test_each_command_gets_every_variable_of_the_connection(name: str):
    service = yaml.safe_load(FILE.read_text())["services"][name]

    assert {*DATABASE_VARIABLES.values(), SSL_MODE, SSL_ROOT_CERTIFICATE, *LIBPQ_VARIABLES} - set(service["environment"]) == set()


@pytest.mark.docker
def test_the_certificates_are_mounted_at_their_own_path():
    services = resolved(DB_SSLMODE="verify-full", DB_SSLROOTCERT=CERTIFICATES, PGOPTIONS="-c search_path=gregory")

    for name in JOBS:
        found = services[name]["environment"]
        assert (found["DB_SSLMODE"], found["DB_SSLROOTCERT"], found["PGOPTIONS"]) == (
            "verify-full",
            CERTIFICATES,
            "-c search_path=gregory",
        )
        assert certificates(services[name]) == [(CERTIFICATES, CERTIFICATES, True)]


@pytest.mark.docker
def test_the_settings_of_tls_are_optional():
    service = resolved()["train"]

    assert [service["environment"][name] for name in ("DB_SSLMODE", "DB_SSLROOTCERT", "PGOPTIONS")] == ["", "", None]
    assert certificates(service) == [("/dev/null", "/run/no-certificates", True)]


def test_no_text_asks_for_values_in_the_file_that_compose_changes():
    assert ".env" not in FILE.read_text()
