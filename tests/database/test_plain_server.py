"""A server that refuses encryption and asks for the password in clear text gets no password, from no program of this project."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gregory.env import SSL_MODE, SSL_ROOT_CERTIFICATE
from gregory.launch.kubernetes.cluster_config import load_cluster_config
from gregory.launch.kubernetes.manifest import render_job
from tests.plain_server import PlainServer, listening
from tools.golden_jobs import CLUSTER_ID, HERE, SPEC
from tools.installation import REPOSITORY, Installation

REFUSAL = (
    'authentication method requirement "!password" failed: server requested a cleartext password; no password was sent: make sure '
    "that this is your server, best with DB_SSLMODE=verify-full; DB_REQUIRE_AUTH determines the proofs that a server may ask for\n"
)
CONNECT = "from django.db import connection; connection.ensure_connection()"
CLUSTER = {"GREGORY_CLUSTER_CONFIG": str(HERE / "cluster-minimal.yaml")}
VERIFIED = {SSL_MODE: "verify-full", SSL_ROOT_CERTIFICATE: "/etc/ssl/certs/ca-certificates.crt"}


@pytest.fixture
def server() -> Iterator[PlainServer]:
    """The server. The password is "hunter2"."""
    with listening() as server:
        yield server


@pytest.fixture
def installation(server: PlainServer, tmp_path: Path) -> Installation:
    """An installation that takes the server for its database."""
    return Installation(tmp_path / "installation", environment={**server.environment(), **CLUSTER})


def test_the_server_gets_a_password_that_is_not_kept_back(server: PlainServer, installation: Installation):
    installation.manage("shell", "--no-imports", "-c", CONNECT, DB_REQUIRE_AUTH="password")

    assert server.passwords == ["hunter2"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("preflight", "--only", "database"),
        ("train_models", "--all-teams"),
        ("train_models", "--all-teams", "--runner", "docker"),
        ("train_models", "--all-teams", "--runner", "kubernetes"),
    ],
    ids=" ".join,
)
def test_a_command_keeps_the_password_and_names_the_cause(server: PlainServer, installation: Installation, arguments: tuple[str, ...]):
    done = installation.manage(*arguments)

    assert done.returncode == 1
    assert REFUSAL in done.stdout + done.stderr
    assert server.sessions > 0
    assert server.passwords == []


@pytest.mark.parametrize(
    "settings", [{}, VERIFIED, {"DB_REQUIRE_AUTH": "scram-sha-256"}, {"PGREQUIREAUTH": "scram-sha-256"}, {"PGSSLMODE": "require"}], ids=str
)
def test_no_setting_sends_the_password(server: PlainServer, installation: Installation, settings: dict[str, str]):
    done = installation.manage("shell", "--no-imports", "-c", CONNECT, **settings)

    assert done.returncode != 0
    assert server.passwords == []


@pytest.mark.parametrize("settings", [{}, {"sslMode": "verify-full", "sslRootCertKey": "ca"}, {"requireAuth": "scram-sha-256"}], ids=str)
def test_the_variables_of_a_pod_send_no_password(server: PlainServer, tmp_path: Path, settings: dict[str, str]):
    """The first connection of a run, with the variables of the pod. Those that refer to the Secret have the values of the server."""
    file = tmp_path / "cluster.yaml"
    database = {"existingSecret": "postgres", "host": server.host, "port": server.port, "name": "gregory", "user": "gregory", **settings}
    file.write_text(yaml.safe_dump(yaml.safe_load((HERE / "cluster-minimal.yaml").read_text()) | {"database": database}))
    job = render_job(SPEC, load_cluster_config(file), cluster_id=CLUSTER_ID)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    plain = {each["name"]: each["value"] for each in container["env"] if "value" in each and each["name"].startswith(("DB_", "POSTGRES_"))}
    variables = {"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": "hunter2", **plain}

    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", CONNECT],
        cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=300,
    )  # fmt: skip

    assert done.returncode != 0
    assert server.passwords == []
