"""The role of a run cannot do what another run, another program or an operator does. Each statement is tried with the run's own token."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.live.database import LiveDatabase, live
from tests.roles import ROLE, ROLE_PASSWORD, RUN_PASSWORD, RUN_ROLE, run_script
from tools.installation import Installation
from tools.postgresql import Server

RUN, TOKEN = "0123456789ab", "0" * 32
OTHER, OTHER_TOKEN = "ba9876543210", "f" * 32
COLUMNS = "team_id, subject_id, model_version, algorithm, run_type, run_started, success"
ROWS = f"""
INSERT INTO gregory_predictionrunlog (id, {COLUMNS}) OVERRIDING SYSTEM VALUE VALUES
    (901, 1, 1, '20260101', 'lgbm_tfidf', 'train', now(), NULL), (902, 1, 2, '20260101', 'lgbm_tfidf', 'train', now(), NULL),
    (903, 1, 1, '20260101', 'lgbm_tfidf', 'predict', now(), true), (904, 1, 1, '20251231', 'lstm', 'train', now(), false);
INSERT INTO gregory_runs_trainingrun (run_id, subject_id, runner, attempt, attempt_token, retries, spec, state, reason, detail, host,
    external_name, external_uid, image_digest, queued_at, log_tail, node, waiting_for, cancelled_by)
    SELECT run, subject, 'kubernetes', 1, token, 0, '{{}}', 'running', '', '', '', '', '', '', now(), '', '', '', ''
    FROM (VALUES ('{RUN}', 1, '{TOKEN}'), ('{OTHER}', 2, '{OTHER_TOKEN}')) AS one (run, subject, token);
INSERT INTO gregory_runs_algorithmrun (id, run_id, run_log_id, position, stage, progress, reason, warnings, metrics, evaluation,
    artifact_path, artifact_digest, resources, data, compute) OVERRIDING SYSTEM VALUE
    SELECT log, run, log, position, stage, '{{}}', '', '[]', '{{}}', '{{}}', '', '', '{{}}', '{{}}', '{{}}'
    FROM (VALUES (901, '{RUN}', 0, 'train'), (904, '{RUN}', 1, 'ended'), (902, '{OTHER}', 0, 'train')) AS one (log, run, position, stage);
"""
DENIED = "permission denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a role, whose transactions have a token."""

    connection: psycopg.Connection[Any]
    token: str = TOKEN

    def execute(self, statement: str) -> int:
        """The number of rows that the statement reads or changes. It is undone."""
        with self.connection.transaction(force_rollback=True):
            self.connection.execute("SELECT set_config('gregory.run_token', %s, true)", [self.token])
            return self.connection.execute(statement).rowcount

    def refusal(self, statement: str) -> str:
        """How the server refuses the statement: its error, or `no row`."""
        try:
            return "" if self.execute(statement) else "no row"
        except psycopg.Error as error:
            return str(error).partition("\n")[0]


@pytest.fixture(scope="module", params=["as_specified", "newest"])
def database(request: pytest.FixtureRequest, postgresql_server: Server, tmp_path_factory: pytest.TempPathFactory) -> LiveDatabase:
    """A database with the roles, two runs, a prediction and an ended training."""
    database = live(postgresql_server, request.param)
    Installation(tmp_path_factory.mktemp("roles"), environment=database.environment()).must("migrate", "-v0")
    database.grant()
    database.execute(ROWS)
    return database


@pytest.fixture
def run(database: LiveDatabase) -> Iterator[Session]:
    """A session of the first run."""
    with database.server.connect(database.name, user=RUN_ROLE, password=RUN_PASSWORD) as connection:
        yield Session(connection=connection)


REFUSED = {
    # GregoryAI's rows.
    "UPDATE gregory_predictionrunlog SET success = false WHERE id = 903": "no row",
    "UPDATE gregory_predictionrunlog SET success = true WHERE id = 902": "no row",
    "UPDATE gregory_predictionrunlog SET success = true WHERE id = 904": "no row",
    "UPDATE gregory_predictionrunlog SET error_message = 'x' WHERE id <> 901": "no row",
    "UPDATE gregory_predictionrunlog SET run_type = 'predict' WHERE id = 901": DENIED,
    "UPDATE gregory_predictionrunlog SET subject_id = 2 WHERE id = 901": DENIED,
    "UPDATE gregory_predictionrunlog SET triggered_by = 'x' WHERE id = 901": DENIED,
    "UPDATE gregory_predictionrunlog SET model_version = '../x' WHERE id = 901": "new row violates row-level security policy",
    f"INSERT INTO gregory_predictionrunlog ({COLUMNS}) VALUES (1, 1, 'x', 'lstm', 'train', now(), true)": DENIED,
    "DELETE FROM gregory_predictionrunlog WHERE id = 901": DENIED,
    "TRUNCATE gregory_predictionrunlog CASCADE": DENIED,
    "SELECT link FROM articles": DENIED,
    "UPDATE articles SET title = 'x'": DENIED,
    "UPDATE gregory_articlesubjectrelevance SET is_relevant = true": DENIED,
    "SELECT * FROM gregory_mlpredictions": DENIED,
    "SELECT * FROM auth_user": DENIED,
    "SELECT slug FROM gregory_team": DENIED,
    # Other runs.
    f"SELECT attempt_token FROM gregory_runs_trainingrun WHERE run_id = '{OTHER}'": "no row",
    f"UPDATE gregory_runs_trainingrun SET state = 'failed' WHERE run_id = '{OTHER}'": "no row",
    f"UPDATE gregory_runs_trainingrun SET claim_key = 'x' WHERE attempt_token = '{OTHER_TOKEN}'": "no row",
    f"UPDATE gregory_runs_trainingrun SET attempt_token = '{TOKEN}' WHERE run_id = '{OTHER}'": DENIED,
    "UPDATE gregory_runs_algorithmrun SET metrics = '{}' WHERE run_log_id = 902": "no row",
    "SELECT metrics FROM gregory_runs_algorithmrun WHERE run_log_id = 902": "no row",
    f"INSERT INTO gregory_runs_runevent (run_id, at, kind, message) VALUES ('{OTHER}', now(), 'x', 'y')": "row-level security",
    # The facts of the own run that decide about others.
    "UPDATE gregory_runs_trainingrun SET attempt_token = 'x'": DENIED,
    "UPDATE gregory_runs_trainingrun SET spec = '{}'": DENIED,
    "UPDATE gregory_runs_trainingrun SET subject_id = 2": DENIED,
    "UPDATE gregory_runs_trainingrun SET retries = 0": DENIED,
    "UPDATE gregory_runs_algorithmrun SET run_log_id = 902": DENIED,
    f"UPDATE gregory_runs_algorithmrun SET run_id = '{OTHER}'": DENIED,
    "UPDATE gregory_runs_algorithmrun SET stage = 'train' WHERE run_log_id = 904": "no row",
    f"DELETE FROM gregory_runs_trainingrun WHERE run_id = '{RUN}'": DENIED,
    # The server.
    f"SET ROLE {ROLE}": DENIED,
    "CREATE TABLE mine (id int)": DENIED,
    "ALTER TABLE gregory_runs_trainingrun DISABLE ROW LEVEL SECURITY": "must be owner",
}


@pytest.mark.parametrize("statement", REFUSED)
def test_a_run_is_refused(run: Session, statement: str):
    assert REFUSED[statement] in run.refusal(statement), statement


ALLOWED = {
    "UPDATE gregory_predictionrunlog SET success = true, run_finished = now() WHERE id = 901": 1,
    f"UPDATE gregory_runs_trainingrun SET state = 'succeeded', finished_at = now() WHERE run_id = '{RUN}'": 1,
    "UPDATE gregory_runs_algorithmrun SET stage = 'ended', metrics = '{}' WHERE run_log_id = 901": 1,
    f"INSERT INTO gregory_runs_runevent (run_id, at, kind, message) VALUES ('{RUN}', now(), 'x', 'y') RETURNING id": 1,
    "SELECT run_id FROM gregory_runs_trainingrun": 1,
}


@pytest.mark.parametrize("statement", ALLOWED)
def test_a_run_writes_its_own_rows(run: Session, statement: str):
    assert run.execute(statement) == ALLOWED[statement]


@pytest.mark.parametrize("token", ["", "0", "%", OTHER])
def test_without_its_token_a_run_has_no_row(run: Session, token: str):
    another = Session(connection=run.connection, token=token)

    assert another.refusal("SELECT * FROM gregory_runs_trainingrun") == "no row"
    assert another.refusal("UPDATE gregory_predictionrunlog SET success = true") == "no row"


def test_an_ended_run_stays_as_it_is(run: Session):
    with run.connection.transaction(force_rollback=True):
        run.connection.execute("SELECT set_config('gregory.run_token', %s, true)", [TOKEN])
        run.connection.execute("UPDATE gregory_runs_trainingrun SET state = 'failed'")

        assert run.connection.execute("UPDATE gregory_runs_trainingrun SET state = 'running'").rowcount == 0


def test_the_owner_and_the_commands_see_every_row(database: LiveDatabase):
    for user, password in ((ROLE, ROLE_PASSWORD), ("gregory", "test-only")):
        with database.server.connect(database.name, user=user, password=password) as connection:
            session = Session(connection=connection, token="")

            assert session.execute("SELECT * FROM gregory_runs_trainingrun") == 2
            assert session.execute("UPDATE gregory_predictionrunlog SET success = false WHERE id IN (901, 902, 903)") == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE gregory_predictionrunlog SET run_type = 'train'",
        "UPDATE gregory_runs_trainingrun SET run_id = 'x'",
        "UPDATE gregory_runs_runevent SET message = 'x'",
        "DELETE FROM gregory_runs_runevent",
        "SELECT link FROM articles",
        "UPDATE articles SET title = 'x'",
        "ALTER ROLE gregory_run PASSWORD 'x'",
    ],
)
def test_the_commands_are_refused_too(database: LiveDatabase, statement: str):
    with database.server.connect(database.name, user=ROLE, password=ROLE_PASSWORD) as connection:
        refusal = Session(connection=connection).refusal(statement)

    assert "denied" in refusal


def test_the_script_stops_at_its_first_error_and_has_changed_nothing(postgresql_server: Server, tmp_path: Path):
    database = live(postgresql_server, "newest")
    Installation(tmp_path, environment=database.environment()).must("migrate", "-v0")
    database.execute("DROP TABLE gregory_runs_runevent")
    before = database.catalog()

    done = run_script(database.server, database.name)

    assert done.returncode == 3
    assert 'relation "gregory_runs_runevent" does not exist' in done.stderr
    assert done.stderr.count("ERROR") == 1
    assert database.catalog() == before
    assert database.execute("SELECT count(*) FROM pg_policies") == [(0,)]


def test_the_script_can_be_repeated_and_takes_back_what_it_granted_before(postgresql_server: Server, tmp_path: Path):
    database = live(postgresql_server, "newest")
    Installation(tmp_path, environment=database.environment()).must("migrate", "-v0")
    database.grant()
    first = database.catalog()
    database.execute(f"GRANT ALL ON gregory_predictionrunlog, gregory_runs_trainingrun, articles TO {ROLE}, {RUN_ROLE}")

    database.grant()

    assert database.catalog() == first
