"""TLS to the database from a pod: a server with a certificate of a private authority, which refuses other connections."""

from collections.abc import Iterator

import pytest

from tests.kubernetes.production import Production
from tests.roles import RUN_PASSWORD
from tools.cluster.network import HOST
from tools.postgresql_tls import encrypted

pytestmark = pytest.mark.slow

SETTINGS = {"sslMode": "verify-full", "sslRootCertKey": "ca.crt"}


@pytest.fixture
def checking(production: Production) -> Iterator[Production]:
    """The installation. Its commands check the server of their database."""
    before = production.installation.environment
    with encrypted(production.server, production.database, names=f"IP:127.0.0.1,IP:{HOST.ip}") as authority:
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "with-certificate", "namespace": production.cluster_namespace.namespace},
            "stringData": {"POSTGRES_PASSWORD": RUN_PASSWORD, "ca.crt": authority.read_text()},
        }
        production.cluster_namespace.cluster.apply(secret)
        production.installation.environment = before | {"DB_SSLMODE": "verify-full", "DB_SSLROOTCERT": str(authority)}
        yield production
    production.installation.environment = before


def test_a_pod_checks_the_server(checking: Production):
    checking.subjects("tls", "s")

    checking.train("tls", "--wait", database={"existingSecret": "with-certificate", **SETTINGS})

    assert [(row["success"], row["state"]) for row in checking.rows("tls")] == [(True, "succeeded")]


def test_a_cluster_file_without_the_certificate_costs_no_row(checking: Production):
    done = checking.train("tls", "--wait", code=1)

    assert "which a pod does not have; put them into the Secret postgresql, and name their key in database.sslRootCertKey" in done.stderr
