"""A real PostgreSQL server for the tests: its own data folder, on loopback, ended by its process id."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

import psycopg

USER = "gregory"
PASSWORD = "test-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How to reach it."""

    port: int

    def environment(self, database: str) -> dict[str, str]:
        """The variables under which the product uses this server."""
        return {
            "POSTGRES_DB": database,
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": PASSWORD,
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self.port),
        }

    def create(self, database: str) -> None:
        """An empty database."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')


def binaries() -> Path | None:
    """The newest server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


@contextlib.contextmanager
def running(programs: Path, *, pods: IPv4Interface | None = None) -> Iterator[Server]:
    """A server for the time of the block; on loopback, and where `pods` is given on that address too, for that network."""
    # The server refuses to run as root; the package's own user owns the data then.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="gregory-postgresql-"))
    if user:
        shutil.chown(folder, user)
    password_file = folder / "password"
    password_file.write_text(PASSWORD)
    password_file.chmod(0o644)
    data = folder / "data"
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", USER, "--pwfile", password_file, "--auth", "scram-sha-256", "-E", "UTF8", "--no-sync"],
        check=True, capture_output=True, user=user, cwd=folder,
    )  # fmt: skip
    addresses = ["127.0.0.1"]
    if pods is not None:
        addresses.append(str(pods.ip))
        with (data / "pg_hba.conf").open("a") as access:
            access.write(f"host all all {pods.network} scram-sha-256\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [
            programs / "postgres", "-D", data, "-p", str(port), "-k", folder,
            "-c", f"listen_addresses={','.join(addresses)}", "-c", "fsync=off",
        ],
        user=user, cwd=folder, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        _wait(port, server, folder / "log")
        yield Server(port=port)
    finally:
        server.terminate()
        server.wait(30)
        log.close()
        shutil.rmtree(folder)


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD, dbname="postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
