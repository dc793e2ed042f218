"""A whole installation in a temporary folder: its own database and models, driven through its real command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"

ROWS = """
import json
from gregory.models import PredictionRunLog as Log
rows = Log.objects.filter(run_type="train").select_related("algorithm_run__run", "subject", "team").order_by("pk")
print(json.dumps([dict(
    id=row.pk, team=row.team.slug, subject=row.subject.subject_slug, algorithm=row.algorithm, version=row.model_version,
    success=row.success, triggered_by=row.triggered_by,
    finished=row.run_finished is not None, error=row.error_message, reason=row.algorithm_run.reason, warnings=row.algorithm_run.warnings,
    metrics=row.algorithm_run.metrics, artifact=row.algorithm_run.artifact_path,
    resources=row.algorithm_run.resources, stage=row.algorithm_run.stage, runner=row.algorithm_run.run.runner,
    data=row.algorithm_run.data, compute=row.algorithm_run.compute, attempt=row.algorithm_run.run.attempt,
    run_id=row.algorithm_run.run_id, state=row.algorithm_run.run.state, run_reason=row.algorithm_run.run.reason,
    detail=row.algorithm_run.run.detail, pid=row.algorithm_run.run.external_name, exit_code=row.algorithm_run.run.exit_code,
) for row in rows]))
"""


@dataclass
class Site:
    """`manage` runs a command to its end, `start` leaves it running; `rows` is what the database says of trainings."""

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

    def manage(self, *arguments: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a management command; its output and exit code."""
        return subprocess.run(
            self._argv(arguments), cwd=REPOSITORY, env={**self.environment, **environment}, capture_output=True, text=True, timeout=timeout
        )

    def must(self, *arguments: str) -> str:
        """Run a management command that has to succeed; its standard output."""
        done = self.manage(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def start(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """A management command left running for the block, ended with it."""
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
        """What its trainings use from now on in the place of the defaults, as YAML."""
        file = self.folder / "hyperparameters.yaml"
        file.write_text(text)
        self.environment["GREGORY_HYPERPARAMETERS"] = str(file)

    def rows(self) -> list[dict[str, Any]]:
        """Every training row with what the run tables know of it."""
        return json.loads(self.must("shell", "--no-imports", "-c", ROWS))

    def run_code(self, code: str) -> str:
        """Python within the site's Django."""
        return self.must("shell", "--no-imports", "-c", code)

    def import_csv(self, name: str, *, team: str, subject: str) -> None:
        """Load one of the real files in place."""
        self.must("import_articles", str(DATA / name), "--team", team, "--subject", subject)

    @staticmethod
    def _argv(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(REPOSITORY / "manage.py"), *arguments]
