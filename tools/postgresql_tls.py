"""Encrypt the connections to one database of a running server, with a certificate of a private authority."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools.cluster import pki
from tools.postgresql import USER, Server, owner

SETTINGS = ("ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file")


@contextlib.contextmanager
def encrypted(server: Server, database: str, *, names: str, by_certificate: bool = False) -> Iterator[Path]:
    """Refuse connections to the database without TLS, for the block. Yields the file of the authority's certificate.

    names: of the server, as in the subjectAltName of a certificate. The server keeps its other databases and connections.
    by_certificate: instead of a password, the client needs `client.crt` and `client.key`, which are beside the file.
    """
    folder = Path(tempfile.mkdtemp(prefix="gregory-tls-"))
    access = server.folder / "data" / "pg_hba.conf"
    before = access.read_text(encoding="utf-8")
    try:
        pki.authority(folder, "ca", "/CN=private-authority")
        pki.certificate(folder, "server", "/CN=database", "extendedKeyUsage=serverAuth", f"subjectAltName={names}", issuer="ca")
        pki.certificate(folder, "client", f"/CN={USER}", "extendedKeyUsage=clientAuth", issuer="ca")
        folder.chmod(0o755)
        if user := owner():
            shutil.chown(folder / "server.key", user)
        rules = f'hostnossl "{database}" all all reject\n' + (f'hostssl "{database}" all all cert\n' if by_certificate else "")
        access.write_text(rules + before, encoding="utf-8")
        _configure(server, "on", folder / "server.crt", folder / "server.key", folder / "ca.crt")
        yield folder / "ca.crt"
    finally:
        access.write_text(before, encoding="utf-8")
        _configure(server)
        shutil.rmtree(folder)


def _configure(server: Server, *values: object) -> None:
    """Set SETTINGS to these values, or reset them. Returns when new connections get them."""
    with server.connect() as connection:
        for number, name in enumerate(SETTINGS):
            connection.execute(f"ALTER SYSTEM SET {name} = '{values[number]}'" if values else f"ALTER SYSTEM RESET {name}")
        connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with server.connect() as connection:
            if (connection.execute("SHOW ssl").fetchone() or ("",))[0] == ("on" if values else "off"):
                return
        time.sleep(0.05)
    raise RuntimeError("PostgreSQL did not change the encryption of its connections")
