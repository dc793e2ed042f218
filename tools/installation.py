"""An installation in a temporary folder with its own database and models. Tests use its command line."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tools.postgresql import Server

REPOSITORY = Path(__file__).resolve().parents[1]

ROWS = """
SELECT log.id, team.slug AS team, subject.subject_slug AS subject, log.algorithm, log.model_version AS version, log.success,
  log.triggered_by, log.run_finished IS NOT NULL AS finished, log.error_message AS error, algorithm.reason, algorithm.warnings,
  algorithm.metrics, algorithm.artifact_path AS artifact, algorithm.resources, algorithm.stage, run.runner, algorithm.data,
  algorithm.compute, run.attempt, run.run_id, run.state, run.reason AS run_reason, run.detail, run.external_name AS pid, run.exit_code
FROM gregory_predictionrunlog log
  JOIN gregory_runs_algorithmrun algorithm ON algorithm.run_log_id = log.id
  JOIN gregory_runs_trainingrun run ON run.run_id = algorithm.run_id
  JOIN subjects subject ON subject.id = log.subject_id
  JOIN gregory_team team ON team.id = log.team_id
WHERE log.run_type = 'train' ORDER BY log.id
"""
# The database of a server that `create_migrated` copies.
TEMPLATE = "migrated"
# Columns that SQLite returns as numbers, and columns that it returns as text.
TRUTHS, VALUES = ("success", "finished"), ("warnings", "metrics", "resources", "data", "compute")


@dataclass
class Installation:
    """`manage` runs a command to its end. `start` leaves it running. `rows` reads the trainings from the database."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.models = self.folder / "models"
        self.models.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GREGORY_", "POSTGRES_", "DB_"))}
        defaults = {
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "SQLITE_FILE": str(self.folder / "db.sqlite3"),
            "TEST_MODELS_DIR": str(self.models),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.environment = {**inherited, **defaults, **self.environment}

    def manage(self, *arguments: str, timeout: float = 900, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a management command. Returns its output and exit code."""
        return subprocess.run(
            self._argv(arguments), cwd=REPOSITORY, env={**self.environment, **environment}, capture_output=True, text=True, timeout=timeout
        )

    def must(self, *arguments: str) -> str:
        """Run a management command that must succeed. Returns its standard output."""
        done = self.manage(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def start(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Run a management command during the block, then kill it."""
        process = subprocess.Popen(
            self._argv(arguments),
            cwd=REPOSITORY,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def set_hyperparameters(self, text: str) -> None:
        """Replace the default hyper-parameters of its trainings by this YAML text."""
        file = self.folder / "hyperparameters.yaml"
        file.write_text(text)
        self.environment["GREGORY_HYPERPARAMETERS"] = str(file)

    def rows(self) -> list[dict[str, Any]]:
        """Every training row, with its columns of the run tables."""
        rows = self.select(ROWS)
        if "POSTGRES_DB" not in self.environment:
            for row in rows:
                row |= {name: None if row[name] is None else bool(row[name]) for name in TRUTHS}
                row |= {name: json.loads(row[name]) for name in VALUES}
        return rows

    def select(self, statement: str) -> list[dict[str, Any]]:
        """The rows of a statement."""
        here = self.environment
        if "POSTGRES_DB" in here:
            with psycopg.connect(
                host=here["DB_HOST"], port=here["DB_PORT"], user=here["POSTGRES_USER"], password=here["POSTGRES_PASSWORD"],
                dbname=here["POSTGRES_DB"], row_factory=dict_row,
            ) as connection:  # fmt: skip
                return connection.execute(statement).fetchall()
        with closing(sqlite3.connect(here["SQLITE_FILE"], timeout=300)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement)]

    def run_code(self, code: str) -> str:
        """Run Python code in the Django of the installation."""
        return self.must("shell", "--no-imports", "-c", code)

    @staticmethod
    def _argv(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(REPOSITORY / "manage.py"), *arguments]


def create_migrated(server: Server, database: str) -> None:
    """Create a database with every table and no row. Each server migrates once. Later databases are copies."""
    with server.connect() as connection:
        migrated = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE]).fetchone()
    if migrated is None:
        server.create(unfinished := f"{TEMPLATE}_unfinished")
        with tempfile.TemporaryDirectory() as folder:
            Installation(Path(folder), environment=server.environment(unfinished)).must("migrate", "-v0")
        with server.connect() as connection:
            connection.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{TEMPLATE}"')
    server.create(database, template=TEMPLATE)
