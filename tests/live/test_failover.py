"""Runs of three subjects while their PostgreSQL server fails over, refuses writes, is silent, or has a row lock. Real servers."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from gregory.database import waits
from tests.end_to_end.trainings import has_ended, processes, wait_for
from tests.strict import need
from tools import postgresql
from tools.installation import Installation, create_migrated
from tools.postgresql import Server

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

TRAIN = ("train_models", "--all-teams", "--algo", "lgbm_tfidf")
# Heartbeats meet each outage.
HEARTBEATS = {"TEST_HEARTBEAT_SECONDS": "1"}
PROMOTED_AFTER = READ_ONLY = 10.0
# A process gets SIGKILL 30 s after SIGTERM.
GRACE = 30.0


@pytest.fixture(scope="module")
def programs() -> Path:
    found = postgresql.binaries()
    need(found, what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def own_server(programs: Path) -> Iterator[Server]:
    """A server that a test may disturb."""
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture(scope="module")
def loaded(own_server: Server, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with the articles of the demo feed."""
    create_migrated(own_server, "demo")
    installation = Installation(tmp_path_factory.mktemp("demo"), environment=own_server.environment("demo"))
    installation.must("load_demo")
    return "demo"


@pytest.fixture
def demo(own_server: Server, loaded: str, small_bundle: Path, tmp_path: Path) -> Installation:
    """An installation with its own copy of that database."""
    name = f"demo_{uuid4().hex[:12]}"
    own_server.create(name, template=loaded)
    environment = {"GREGORY_BASE_MODELS": str(small_bundle), **own_server.environment(name), **HEARTBEATS}
    return Installation(tmp_path / "installation", environment=environment)


def in_a_later_training(installation: Installation, command: subprocess.Popen[str]) -> None:
    """Wait until one run has trained, and the worker of another trains."""

    def trains() -> bool:
        trained = list(installation.models.glob("[!.]*/[!.]*/lgbm_tfidf/*/manifest.json"))
        return 0 < len(trained) < 3 and bool(processes(command, "gregory.ml.stages", "train"))

    wait_for(trains)


def all_succeeded(installation: Installation, command: subprocess.Popen[str], output: str) -> None:
    rows = installation.rows()
    assert [(row["success"], row["state"], row["attempt"]) for row in rows] == [(True, "succeeded", 1)] * 3, output
    assert len(list(installation.models.glob("[!.]*/[!.]*/lgbm_tfidf/*/manifest.json"))) == 3
    assert not list(installation.models.glob("[!.]*/[!.]*/.runs/[!.]*/outcome.json"))
    assert command.returncode == 0, output


def test_a_failover_in_the_middle_of_three_subjects_loses_nothing(demo: Installation, own_server: Server, programs: Path):
    # A server of its own, because the primary does not come back.
    with postgresql.running(programs) as primary:
        name = demo.environment["POSTGRES_DB"]
        copy = subprocess.run([programs / "pg_dump", own_server.url(name)], check=True, capture_output=True, text=True).stdout
        primary.create(name)
        subprocess.run(
            [programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", primary.url(name)],
            input=copy,
            check=True,
            text=True,
            stdout=subprocess.DEVNULL,
        )
        demo.environment |= primary.environment(name)
        with postgresql.standby(primary) as standby, demo.start(*TRAIN) as command:
            in_a_later_training(demo, command)
            primary.stop()
            standby.take_over(primary)
            time.sleep(PROMOTED_AFTER)
            standby.promote()
            output, _ = command.communicate(timeout=600)

            all_succeeded(demo, command, output)


def test_a_read_only_server_in_the_middle_of_three_subjects_loses_nothing(demo: Installation, own_server: Server):
    with demo.start(*TRAIN) as command:
        in_a_later_training(demo, command)
        with read_only(own_server):
            time.sleep(READ_ONLY)
        output, _ = command.communicate(timeout=600)

    all_succeeded(demo, command, output)


def test_a_silent_server_in_the_middle_of_three_subjects_loses_nothing(demo: Installation, own_server: Server):
    with demo.start(*TRAIN) as command:
        in_a_later_training(demo, command)
        with own_server.frozen():
            time.sleep(waits.ANSWER_SECONDS + 5)
        output, _ = command.communicate(timeout=600)

    all_succeeded(demo, command, output)


@contextmanager
def read_only(server: Server) -> Iterator[None]:
    server.set_read_only(True)
    try:
        yield
    finally:
        server.set_read_only(False)


@contextmanager
def away(server: Server) -> Iterator[None]:
    server.stop(crash=True)
    try:
        yield
    finally:
        server.start()


@contextmanager
def locked(server: Server, database: str) -> Iterator[None]:
    """Another client holds the locks of all runs."""
    with psycopg.connect(server.url(database)) as session:
        session.execute("SELECT 1 FROM gregory_runs_trainingrun FOR UPDATE")
        yield
        session.rollback()


def disturbance(kind: str, server: Server, database: str) -> AbstractContextManager[None]:
    return {"read-only": read_only, "silent": Server.frozen, "away": away}[kind](server) if kind != "locked" else locked(server, database)


@pytest.mark.parametrize("kind", ["read-only", "silent", "away", "locked"])
def test_sigterm_ends_a_run_within_its_grace(demo: Installation, own_server: Server, kind: str):
    # The worker trains until it is stopped.
    demo.set_hyperparameters("lgbm: {rounds: 2000000000}\n")
    with demo.start("train_models", "--team", "neurology", "--subject", "migraine-prevention", "--algo", "lgbm_tfidf") as command:
        wait_for(lambda: processes(command, "gregory.ml.stages", "train-lgbm_tfidf"))
        (job,) = processes(command, "-m job")
        with disturbance(kind, own_server, demo.environment["POSTGRES_DB"]):
            # A heartbeat is waiting.
            time.sleep(5)
            job.terminate()
            wait_for(lambda: has_ended(job), seconds=GRACE)
        output, _ = command.communicate(timeout=600)

    demo.must("reconcile_runs", "--once")
    (row,) = demo.rows()
    assert (row["success"], row["reason"]) == (False, "interrupted"), output
    assert "interrupted by signal 15 (SIGTERM)" in row["error"]


@pytest.mark.parametrize("kind", ["read-only", "silent", "away", "locked"])
def test_sigterm_ends_a_reconciler_within_its_grace(demo: Installation, own_server: Server, kind: str):
    with ExitStack() as stack:
        alive = demo.folder / "alive"
        reconciler = stack.enter_context(demo.start("reconcile_runs", "--interval", "1", GREGORY_LIVENESS_FILE=str(alive)))
        wait_for(alive.exists)
        stack.enter_context(disturbance(kind, own_server, demo.environment["POSTGRES_DB"]))
        time.sleep(5)
        reconciler.send_signal(signal.SIGTERM)
        output, _ = reconciler.communicate(timeout=GRACE)

    assert reconciler.returncode == 0, output
