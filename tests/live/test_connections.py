"""The database connections of a run: none during a stage, no long transaction, and none lost for good when the server stops."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from gregory.runs import report_key
from gregory.runs.spec import RunOutcome
from tests.end_to_end import trainings
from tests.end_to_end.trainings import wait_for_a_heartbeat
from tests.live.database import LiveDatabase, live
from tests.strict import need
from tools import postgresql
from tools.installation import Installation
from tools.postgresql import Server

TRAIN = ("train_models", "--team", "neurology", "--subject", "ms", "--algo", "lgbm_tfidf")
ACTIVITY = """
SELECT pid, state, extract(epoch FROM clock_timestamp() - xact_start)::float8 FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'gregory-train'
"""


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that a test may stop."""
    programs = postgresql.binaries()
    need(programs, what="a PostgreSQL server", remedy="install one, for example: apt-get install postgresql")
    assert programs is not None
    with postgresql.running(programs) as server:
        yield server


@pytest.fixture
def database(own_server: Server) -> LiveDatabase:
    return live(own_server, "newest")


@pytest.fixture
def live_installation(database: LiveDatabase, small_bundle: Path, tmp_path: Path) -> Installation:
    installation = Installation(tmp_path / "installation", environment={"GREGORY_BASE_MODELS": str(small_bundle), **database.environment()})
    installation.must("migrate", "-v0")
    return installation


def wait_for(path: str, installation: Installation, command: subprocess.Popen[str], *, or_else: str = "") -> Path:
    """Wait for the file or folder of that pattern, or of the other one, in the models folder, at most 300 s."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and command.poll() is None:
        if found := [found for pattern in (path, or_else) if pattern for found in installation.models.glob(pattern)]:
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear: {command.communicate(timeout=60)[0] if command.poll() is not None else 'still running'}")


@dataclass
class Watched:
    """The sessions of the product, read every 0.01 s."""

    reads: int = 0
    # Reads with an open session, and the longest transaction, in seconds.
    occupied: int = 0
    longest: float = 0.0
    sessions: set[int] = field(default_factory=set)


@contextmanager
def watched(database: LiveDatabase) -> Iterator[Watched]:
    seen, enough = Watched(), threading.Event()

    def read() -> None:
        with database.server.connect(database.name) as connection:
            while not enough.wait(0.01):
                rows = connection.execute(ACTIVITY).fetchall()
                seen.reads += 1
                seen.occupied += bool(rows)
                seen.sessions |= {pid for pid, _, _ in rows}
                seen.longest = max([seen.longest, *(age for _, _, age in rows if age is not None)])

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seen
    finally:
        enough.set()
        thread.join()


def test_a_run_holds_no_connection_during_a_stage_and_no_transaction_is_long(database: LiveDatabase, live_installation: Installation):
    with watched(database) as whole, live_installation.start(*TRAIN) as command:
        wait_for("[!.]*/[!.]*/.runs/[!.]*/stages/train-lgbm_tfidf/in/request.json", live_installation, command)
        # The first heartbeat is written when the stage starts.
        wait_for_a_heartbeat(live_installation, "lgbm_tfidf")
        trainings.wait_for(lambda: not database.execute(ACTIVITY))
        began = time.monotonic()
        with watched(database) as working:
            # The run removes this folder after the publication.
            wait_for(
                "[!.]*/[!.]*/.runs/[!.]*/stages/train-lgbm_tfidf/out",
                live_installation,
                command,
                or_else="[!.]*/[!.]*/[!.]*/[!.]*/manifest.json",
            )
        took = time.monotonic() - began
        output, _ = command.communicate(timeout=300)

    assert command.returncode == 0, output
    # The command and the run open a session for each query.
    assert len(whole.sessions) > 4
    # A transaction over a stage would take longer than most of the stage.
    assert whole.longest < took / 2
    assert working.reads > 20
    # A heartbeat may be among the reads.
    assert working.occupied <= working.reads / 5


@pytest.mark.slow
def test_a_run_succeeds_if_the_server_stops_and_starts_again(database: LiveDatabase, live_installation: Installation):
    with live_installation.start(*TRAIN) as command:
        wait_for("[!.]*/[!.]*/.runs/[!.]*/stages/train-lgbm_tfidf/in/request.json", live_installation, command)
        database.server.stop(crash=True)
        # A run writes this file when it cannot write its end to the database.
        wait_for("[!.]*/[!.]*/.runs/[!.]*/outcome.json", live_installation, command)
        time.sleep(3)
        database.server.start()
        output, _ = command.communicate(timeout=600)

    assert command.returncode == 0, output
    assert ended(database) == [(True, None, "succeeded", 1)]
    assert database.execute("SELECT count(*) FROM gregory_runs_runevent") == [(0,)]
    assert not list(live_installation.models.glob("[!.]*/[!.]*/.runs/[!.]*/outcome.json"))


def test_reconcile_reads_the_outcome_of_a_run_whose_server_stayed_stopped(database: LiveDatabase, live_installation: Installation):
    with live_installation.start(*TRAIN, TEST_PAUSES="0.2 0.2") as command:
        wait_for("[!.]*/[!.]*/.runs/[!.]*/stages/train-lgbm_tfidf/in/request.json", live_installation, command)
        # The first heartbeat of the stage must come before.
        wait_for_a_heartbeat(live_installation, "lgbm_tfidf")
        database.server.stop()
        output, _ = command.communicate(timeout=600)
    told = report_key.without_signature(RunOutcome.model_validate_json(outcome_of(live_installation).read_text()))
    with pytest.raises(psycopg.OperationalError):
        database.execute("SELECT 1")

    database.server.start()
    reconciled = live_installation.must("reconcile_runs", "--once")

    assert command.returncode == 1
    assert "the database cannot be used: " in output.splitlines()[-1]
    (end,) = told.algorithms
    assert end.success
    assert told.interrupted.startswith("the database could not be reached: ")
    assert ended(database) == [(True, None, "succeeded", 1)]
    assert database.execute("SELECT metrics FROM gregory_runs_algorithmrun") == [(end.metrics,)]
    assert reconciled.endswith("1 unfinished run, 1 closed\n")


def outcome_of(installation: Installation) -> Path:
    (file,) = installation.models.glob("[!.]*/[!.]*/.runs/[!.]*/outcome.json")
    return file


def ended(database: LiveDatabase) -> list[tuple[object, ...]]:
    """The end of the only run and of its only row."""
    return database.execute(
        "SELECT success, error_message, state, attempt FROM gregory_predictionrunlog l "
        "JOIN gregory_runs_algorithmrun a ON a.run_log_id = l.id JOIN gregory_runs_trainingrun USING (run_id)"
    )
