"""compose.yaml passes the settings of the database connection to its containers."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gregory.env import DATABASE_VARIABLES, LIBPQ_VARIABLES, REQUIRE_AUTH, SSL_FILES, SSL_MODE, Environment
from gregory.launch.docker.container import MOST_PROCESSES
from tests.strict import need
from tools.docker_engine import COMPOSE
from tools.installation import REPOSITORY

FILE = REPOSITORY / "compose.yaml"
COMMANDS, OWNERS, PREDICTOR, PAGES = ("train", "reconcile", "manage"), ("migrate", "owner"), "predict", "pages"
JOBS = (*COMMANDS, *OWNERS, PREDICTOR, PAGES)
PASSWORDS = {"POSTGRES_PASSWORD": "of-the-owner", "POSTGRES_TRAIN_PASSWORD": "of-the-commands", "POSTGRES_RUN_PASSWORD": "of-the-runs"}
PASSWORDS |= {"POSTGRES_PREDICT_PASSWORD": "of-the-predictions", "POSTGRES_WEB_PASSWORD": "of-the-pages"}
CERTIFICATES, CERTIFICATE, KEY = "/srv/authority.crt", "/srv/client.crt", "/srv/client.key"


def resolved(**variables: str) -> dict[str, Any]:
    """The services as docker-compose reads them, with these variables in its shell."""
    need(Path(COMPOSE).exists(), what="docker-compose", remedy="apt-get install docker-compose")
    environment = {"PATH": "/usr/bin:/bin", **PASSWORDS, **variables}
    done = subprocess.run([COMPOSE, "--file", str(FILE), "config"], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def certificates(service: dict[str, Any]) -> list[tuple[str, str, bool]]:
    mounts = [mount for mount in service["volumes"] if isinstance(mount, dict)]
    return [(mount["source"], mount["target"], mount["read_only"]) for mount in mounts]


@pytest.mark.parametrize("name", JOBS)
def test_each_command_gets_every_variable_of_the_connection(name: str):
    service = yaml.safe_load(FILE.read_text())["services"][name]

    assert {*DATABASE_VARIABLES.values(), SSL_MODE, REQUIRE_AUTH, *SSL_FILES, *LIBPQ_VARIABLES} - set(service["environment"]) == set()


def test_the_reconciler_gets_every_variable_of_the_notifications():
    # A folder of templates would need a mount.
    names = {name for name in Environment.model_fields if name.startswith(("GREGORY_NOTIFY", "EMAIL_", "DEFAULT_FROM"))}

    assert names - {"GREGORY_NOTIFY_TEMPLATES"} - set(yaml.safe_load(FILE.read_text())["services"]["reconcile"]["environment"]) == set()


@pytest.mark.docker
def test_certificates_and_key_are_mounted_at_their_own_paths():
    files = {"DB_SSLROOTCERT": CERTIFICATES, "DB_SSLCERT": CERTIFICATE, "DB_SSLKEY": KEY}
    services = resolved(DB_SSLMODE="verify-full", **files, PGOPTIONS="-c search_path=gregory")

    for name in JOBS:
        found = services[name]["environment"]
        assert (found["DB_SSLMODE"], found["PGOPTIONS"]) == ("verify-full", "-c search_path=gregory")
        assert {name: found[name] for name in files} == files
        assert certificates(services[name]) == [(file, file, True) for file in files.values()]


@pytest.mark.docker
def test_each_service_has_the_password_of_its_role_only():
    services = resolved()

    roles = {
        name: tuple(services[name]["environment"][f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "RUN_USER", "RUN_PASSWORD"))
        for name in JOBS
    }
    commands = ("gregory_train", "of-the-commands", "gregory_run", "of-the-runs")
    predictor = {PREDICTOR: ("gregory_predict", "of-the-predictions", "", "")}
    pages = {PAGES: ("gregory_web", "of-the-pages", "gregory_run", "of-the-runs")}
    assert roles == dict.fromkeys(COMMANDS, commands) | dict.fromkeys(OWNERS, ("gregory", "of-the-owner", "", "")) | predictor | pages


@pytest.mark.docker
def test_only_this_host_reaches_the_pages():
    assert resolved(GREGORY_WEB_PORT="9000")[PAGES]["ports"] == ["127.0.0.1:9000:8000/tcp"]


@pytest.mark.docker
@pytest.mark.parametrize("name", ["roles", "pages-role"])
def test_the_roles_are_made_with_the_certificates_of_the_connection(name: str):
    files = {"DB_SSLROOTCERT": CERTIFICATES, "DB_SSLCERT": CERTIFICATE, "DB_SSLKEY": KEY}
    service = resolved(DB_SSLMODE="verify-full", **files)[name]

    found = service["environment"]
    assert [found[name] for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY")] == ["verify-full", *files.values()]
    assert certificates(service) == [(file, file, True) for file in files.values()]


@pytest.mark.docker
@pytest.mark.parametrize("name", JOBS)
def test_the_number_of_processes_is_limited_as_by_the_runner(name: str):
    assert resolved()[name]["pids_limit"] == MOST_PROCESSES


@pytest.mark.docker
def test_the_settings_of_tls_are_optional():
    service = resolved()["train"]

    empty = ("DB_SSLMODE", "DB_SSLROOTCERT", "DB_SSLCERT", "DB_SSLKEY", "DB_REQUIRE_AUTH")
    assert {name: service["environment"][name] for name in (*empty, "PGOPTIONS")} == {**dict.fromkeys(empty, ""), "PGOPTIONS": None}
    places = ("/run/no-certificates", "/run/no-client-certificate", "/run/no-client-key")
    assert certificates(service) == [("/dev/null", place, True) for place in places]


def test_no_text_asks_for_values_in_the_file_that_compose_changes():
    assert ".env" not in FILE.read_text()
