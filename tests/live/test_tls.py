"""TLS to the database: a server with a certificate of a private authority, which refuses other connections. A local run."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.articles import labelled, store
from tools import postgresql
from tools.installation import REPOSITORY, Installation
from tools.postgresql_tls import encrypted

CONNECT = "from django.db import connection; connection.ensure_connection(); print(connection.connection.pgconn.ssl_in_use)"
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


@pytest.fixture
def by_certificate(postgresql_server: postgresql.Server, tmp_path: Path) -> Iterator[Installation]:
    """An installation whose database wants a certificate of the client and no password."""
    database = f"tls_{uuid4().hex[:12]}"
    postgresql_server.create(database)
    with encrypted(postgresql_server, database, names="IP:127.0.0.1", by_certificate=True) as authority:
        files = {"DB_SSLCERT": str(authority.with_name("client.crt")), "DB_SSLKEY": str(authority.with_name("client.key"))}
        tls = {"DB_SSLMODE": "verify-full", "DB_SSLROOTCERT": str(authority), **files}
        environment = {**postgresql_server.environment(database), "POSTGRES_PASSWORD": "", **tls}
        yield Installation(tmp_path / "by-certificate", environment=environment)


def test_a_certificate_of_the_client_replaces_the_password(by_certificate: Installation):
    by_certificate.must("migrate", "-v0")

    assert "database " in by_certificate.must("preflight", "--only", "database")


def test_libpqs_names_of_certificate_and_key_work(by_certificate: Installation):
    environment = by_certificate.environment
    names = {"DB_SSLCERT": "", "DB_SSLKEY": "", "PGSSLCERT": environment["DB_SSLCERT"], "PGSSLKEY": environment["DB_SSLKEY"]}

    done = by_certificate.manage("shell", "--no-imports", "-c", CONNECT, **names)

    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_a_client_without_a_certificate_is_refused(by_certificate: Installation):
    done = by_certificate.manage("preflight", "--only", "database", DB_SSLCERT="", DB_SSLKEY="")

    assert done.returncode == 1
    assert "requires a valid client certificate" in done.stdout


def test_a_key_that_others_may_read_is_refused(by_certificate: Installation):
    Path(by_certificate.environment["DB_SSLKEY"]).chmod(0o644)

    done = by_certificate.manage("preflight", "--only", "database")

    assert done.returncode == 1
    assert "private key file" in done.stdout
    assert done.stdout.endswith(
        "; DB_SSLKEY must name a file that belongs to the user of this process, and that no other user may read: chmod 600\n"
    )


def test_a_server_that_asks_for_nothing_is_refused_if_a_proof_is_required(by_certificate: Installation):
    done = by_certificate.manage("preflight", "--only", "database", DB_REQUIRE_AUTH="scram-sha-256")

    assert done.returncode == 1
    assert 'authentication method requirement "scram-sha-256" failed' in done.stdout


def test_a_wrong_mode_is_named(installation: Installation):
    done = installation.manage("preflight", "--only", "database", DB_SSLMODE="verify_full")

    assert done.returncode == 1
    assert "environment variable DB_SSLMODE is 'verify_full': give disable, allow, prefer, require, verify-ca or verify-full" in done.stderr


@pytest.mark.parametrize("name", ["DB_SSLROOTCERT", "PGSSLROOTCERT"])
def test_a_relative_path_of_the_certificates_is_named(installation: Installation, name: str):
    done = installation.manage("preflight", "--only", "database", **{"DB_SSLROOTCERT": "", name: "certificates/ca.crt"})

    assert done.returncode == 1
    assert done.stderr == (
        f"environment variable {name} is 'certificates/ca.crt': a relative path depends on the folder of the command; "
        "give an absolute path, or `system`\n"
    )


@pytest.fixture
def system_store(installation: Installation, tmp_path: Path) -> Path:
    """A folder of the certificates of an operating system that trusts the authority of the database alone."""
    authority = Path(installation.environment["DB_SSLROOTCERT"])
    argv = ["openssl", "x509", "-noout", "-hash", "-in", str(authority)]
    name = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    folder = tmp_path / "certificates"
    folder.mkdir()
    for file in (f"{name}.0", "ca-certificates.crt"):
        (folder / file).write_bytes(authority.read_bytes())
    return folder


def connect(installation: Installation, *, store: Path | None, **changes: str) -> subprocess.CompletedProcess[str]:
    """Connect to the database. store: replaces the certificates of the operating system for this process."""
    environment = {name: value for name, value in installation.environment.items() if name not in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    mount = f"mount --bind {store} {os.path.realpath(ssl.get_default_verify_paths().openssl_capath)} &&" if store else ""
    argv = [sys.executable, str(REPOSITORY / "manage.py"), "shell", "--no-imports", "-c", CONNECT]
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount} exec "$@"', "sh", *argv],
        cwd=REPOSITORY,
        env=environment | changes,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.root
@pytest.mark.parametrize("name", ["DB_SSLROOTCERT", "PGSSLROOTCERT"])
def test_the_certificates_of_the_system_are_found(installation: Installation, system_store: Path, name: str):
    changes = {"DB_SSLROOTCERT": "", name: "system"}

    trusted = connect(installation, store=system_store, **changes)
    other = connect(installation, store=None, **changes)

    assert (trusted.returncode, trusted.stdout) == (0, "True\n"), trusted.stderr
    assert other.returncode == 1
    assert "certificate verify failed" in other.stderr


@pytest.mark.root
def test_certificates_that_the_environment_names_replace_those_of_the_system(
    installation: Installation, system_store: Path, tmp_path: Path
):
    (tmp_path / "none").mkdir()

    done = connect(installation, store=system_store, DB_SSLROOTCERT="system", SSL_CERT_DIR=str(tmp_path / "none"))

    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr


@pytest.mark.root
def test_a_system_without_certificates_is_refused(installation: Installation, tmp_path: Path):
    (tmp_path / "none").mkdir()

    done = connect(installation, store=tmp_path / "none", DB_SSLROOTCERT="system")

    assert done.returncode == 1
    assert done.stderr.startswith("the certificates of the operating system are missing (")
    assert done.stderr.endswith("or name a file in DB_SSLROOTCERT, for example /etc/ssl/certs/ca-certificates.crt\n")
