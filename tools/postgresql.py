"""A real PostgreSQL server with its own data folder, on loopback, ended by process id."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path
from signal import SIGINT, SIGQUIT
from typing import Any

import psutil
import psycopg

from tools.ports import free_port

USER = "gregory"
PASSWORD = "test-only"


@dataclass(slots=True, kw_only=True)
class Server:
    """One server: its address, and methods that stop and start it."""

    port: int
    programs: Path
    folder: Path
    addresses: Sequence[str] = ("127.0.0.1",)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The first process of the server."""
        assert self._process is not None
        return self._process.pid

    def environment(self, database: str) -> dict[str, str]:
        """The environment variables with which the product uses this server."""
        return {
            "POSTGRES_DB": database,
            "POSTGRES_USER": USER,
            "POSTGRES_PASSWORD": PASSWORD,
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(self.port),
        }

    def url(self, database: str) -> str:
        """The address of a database, with the password of the superuser."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """A connection as superuser."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=database, autocommit=True, **{"user": USER, "password": PASSWORD, **options}
        )

    def create(self, database: str, *, template: str = "template1") -> None:
        """Create a database as a copy of the template."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')

    def start(self) -> None:
        """Start the server and wait until it answers."""
        # The server refuses to run as root. Then the user of the package owns the data.
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder,
                    "-c", f"listen_addresses={','.join(self.addresses)}", "-c", "fsync=off",
                ],
                user=owner(), cwd=self.folder, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server for the block. The kernel still acknowledges packets and accepts connections."""
        assert self._process is not None
        # The first one starts the others.
        postmaster = psutil.Process(self._process.pid)
        postmaster.suspend()
        stopped = [postmaster, *postmaster.children()]
        for process in stopped:
            # The session of a client that has just left.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def set_read_only(self, read_only: bool) -> None:
        """Refuse the writes of new transactions, as during a maintenance."""
        with self.connect(options="-c default_transaction_read_only=off") as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if read_only else 'off'}")
            connection.execute("SELECT pg_reload_conf()")

    def take_over(self, primary: "Server") -> None:
        """Move the address of a stopped primary to this standby. It still accepts no writes."""
        self.stop()
        self.port = primary.port
        self.start()

    def promote(self) -> None:
        """Make this standby a primary. Returns when it accepts writes."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote()")

    def stop(self, *, crash: bool = False) -> None:
        """End every session. crash: in the middle of its work."""
        if self._process is not None:
            self._process.send_signal(SIGQUIT if crash else SIGINT)
            self._process.wait(120)
            self._process = None


def binaries() -> Path | None:
    """The folder of the newest server's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


def owner() -> str | None:
    """The owner of the data, if it is not this user."""
    return "postgres" if os.geteuid() == 0 else None


@contextlib.contextmanager
def running(programs: Path, *, pods: IPv4Interface | None = None) -> Iterator[Server]:
    """A server for the block, on loopback. pods: also on this address, for its network."""
    user = owner()
    folder = _folder(user)
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
    with _started(Server(port=free_port(), programs=programs, folder=folder, addresses=addresses)) as server:
        yield server


@contextlib.contextmanager
def standby(primary: Server) -> Iterator[Server]:
    """A streaming copy of a running server, which accepts reads, for the block."""
    user = owner()
    folder = _folder(user)
    source = f"host=127.0.0.1 port={primary.port} user={USER} password={PASSWORD}"
    subprocess.run(
        [primary.programs / "pg_basebackup", "-D", folder / "data", "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"],
        check=True, capture_output=True, user=user, cwd=folder,
    )  # fmt: skip
    with _started(Server(port=free_port(), programs=primary.programs, folder=folder, addresses=primary.addresses)) as server:
        yield server


def _folder(user: str | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gregory-postgresql-"))
    if user:
        shutil.chown(folder, user)
    return folder


@contextlib.contextmanager
def _started(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        # The data is temporary, so the server need not flush it.
        server.stop(crash=True)
        shutil.rmtree(server.folder)
