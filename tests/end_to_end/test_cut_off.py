"""Runs whose packets to the database are dropped: they end at once when they are told to, and they are not taken for stalled."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from uuid import uuid4

import pytest

from gregory.runs.spec import RunOutcome, RunSpec
from tests.end_to_end.test_reports import OPEN_RUN
from tests.end_to_end.trainings import wait_for
from tests.strict import need
from tools import postgresql
from tools.installation import REPOSITORY, Installation
from tools.postgresql import Server

pytestmark = [pytest.mark.root, pytest.mark.postgres]

# A network of four addresses for this process. One that was killed leaves its own.
FIRST = IPv4Address("10.231.0.0") + 4 * (os.getpid() % 2**14)
HOST, RUN = (IPv4Interface(f"{FIRST + number}/30") for number in (1, 2))
IP, IPTABLES = "/usr/sbin/ip", "/usr/sbin/iptables"
# A job with frequent heartbeats. Its stage has a new message every 0.2 s and loads no library.
WORKER = "import json, time; [(print(json.dumps({'message': f'step {n}'}), flush=True), time.sleep(0.2)) for n in range(3000)]"
JOB = f"""
import sys
from gregory.runs import heartbeat
from job import supervise
heartbeat.HEARTBEAT_SECONDS = 1.0
supervise.worker_command = lambda stage, folder: [sys.executable, "-c", {WORKER!r}]
from job.__main__ import main
sys.exit(main())
"""
STALL_AFTER = 10


def must(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A network namespace with one link to this machine."""
    need(os.geteuid() == 0 and Path(IP).exists() and Path(IPTABLES).exists(), what="root with ip and iptables", remedy="run as root")
    name, link = f"gregory-{os.getpid()}", f"greg{os.getpid() % 10**7}"
    must(IP, "netns", "add", name)
    try:
        must(IP, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        must(IP, "address", "add", str(HOST), "dev", link)
        must(IP, "link", "set", link, "up")
        must(IP, "-n", name, "address", "add", str(RUN), "dev", "eth0")
        must(IP, "-n", name, "link", "set", "eth0", "up")
        must(IP, "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        # This removes the link too.
        must(IP, "netns", "delete", name)


@pytest.fixture(scope="module")
def server(namespace: str) -> Iterator[Server]:
    programs = postgresql.binaries()
    need(programs, what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")
    assert programs is not None
    with postgresql.running(programs, pods=HOST) as server:
        yield server


@pytest.fixture(scope="module")
def filled(server: Server, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with the articles of the demo feed."""
    server.create("filled")
    installation = Installation(tmp_path_factory.mktemp("filled"), environment=server.environment("filled"))
    installation.must("migrate", "-v0")
    installation.must("load_demo")
    return "filled"


@pytest.fixture
def installation(server: Server, filled: str, small_bundle: Path, tmp_path: Path) -> Installation:
    database = f"cut_off_{uuid4().hex[:12]}"
    server.create(database, template=filled)
    return Installation(tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle), **server.environment(database)})


class CutOff:
    """The packets from this machine to the namespace."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Drop them in the block."""
        rule = ("INPUT", "-s", str(HOST.ip), "-j", "DROP")
        within = (IP, "netns", "exec", self._namespace, IPTABLES, "-w")
        must(*within, "-A", *rule)
        try:
            yield
        finally:
            must(*within, "-D", *rule)


@pytest.fixture
def cut_off(namespace: str) -> CutOff:
    return CutOff(namespace)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(installation: Installation, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Start the job of a new run in the namespace. It is in its first stage when this returns."""
    started: list[subprocess.Popen[str]] = []

    def start(**environment: str) -> subprocess.Popen[str]:
        spec = RunSpec.model_validate_json(installation.run_code(OPEN_RUN).strip().splitlines()[-1])
        variables = {
            **installation.environment,
            "DB_HOST": str(HOST.ip),
            "GREGORY_RUN_SPEC": spec.model_dump_json(),
            "GREGORY_TERMINATION_LOG": str(tmp_path / "termination-log"),
            **environment,
        }
        with (tmp_path / "job.log").open("w") as log:
            command = [IP, "netns", "exec", namespace, sys.executable, "-c", JOB]
            started.append(subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=log, stderr=log, text=True))
        wait_for(lambda: "step " in (tmp_path / "job.log").read_text() or started[-1].poll() is not None)
        assert started[-1].poll() is None, (tmp_path / "job.log").read_text()
        return started[-1]

    yield start
    for job in started:
        job.kill()
        job.wait()


@pytest.mark.parametrize("retried", ["true", "false"])
def test_a_run_that_is_told_to_end_ends_at_once(installation: Installation, start: Start, cut_off: CutOff, tmp_path: Path, retried: str):
    job = start(GREGORY_RETRIED=retried)
    with cut_off():
        # A heartbeat waits for its answer.
        time.sleep(3)
        began = time.monotonic()
        job.send_signal(signal.SIGTERM)
        job.wait(300)
        took = time.monotonic() - began

    said = (tmp_path / "job.log").read_text()
    assert job.returncode == 143, said
    # A heartbeat alone would wait 40 s for an answer, and the report and the end of each row after it.
    assert took < 40, said
    outcome = RunOutcome.model_validate_json((tmp_path / "termination-log").read_text())
    assert outcome.interrupted.startswith("interrupted by signal 15 (SIGTERM)")

    installation.must("reconcile_runs", "--once")

    rows = installation.rows()
    assert {(row["success"], row["reason"], row["state"]) for row in rows} == {(False, "interrupted", "failed")}
    assert all(row["error"].startswith("interrupted by signal 15 (SIGTERM)") for row in rows)


def test_a_run_that_was_cut_off_for_longer_than_the_limit_continues(installation: Installation, start: Start, cut_off: CutOff):
    def reconciled() -> str:
        done = installation.manage("reconcile_runs", "--once", GREGORY_STALL_AFTER=str(STALL_AFTER))
        assert done.returncode == 0, done.stderr
        return done.stdout

    job = start()
    with cut_off():
        time.sleep(STALL_AFTER + 5)
        during = reconciled()
    heartbeat = "SELECT heartbeat_at > now() - interval '5 seconds' FROM gregory_runs_trainingrun"
    wait_for(lambda: query(installation, heartbeat))
    after = reconciled()

    assert "left alone" in during
    assert "left alone" in after
    assert job.poll() is None
    assert {row["success"] for row in installation.rows()} == {None}


def query(installation: Installation, statement: str) -> object:
    (line,) = installation.run_code(
        f"from django.db import connection; c = connection.cursor(); c.execute({statement!r}); print(int(c.fetchone()[0]))"
    ).splitlines()[-1:]
    return int(line)
