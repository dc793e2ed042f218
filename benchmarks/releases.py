"""Installations of an older release and of this one, each with its own database, bundle and models."""

import compileall
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import children

REPOSITORY = Path(__file__).parents[1]
BEFORE = "bbf93e9"
# What changes the work of a command. A checkout compiles its modules once, so a measurement must not compile them again.
_FOREIGN = ("GREGORY_", "POSTGRES_", "DB_", "PYTHONDONTWRITEBYTECODE")


@contextmanager
def release(commit: str) -> Iterator[Path]:
    """The files of a commit in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        compileall.compile_dir(folder, quiet=2)
        yield Path(folder)


def commit() -> str:
    """The short commit of this release."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.strip()


def inherited() -> dict[str, str]:
    """The variables of this process without those of an installation."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


class Installation:
    """The release in `tree` with a database on SQLite and models in `folder`. bundle, hyperparameters: paths of its input."""

    def __init__(self, tree: Path, folder: Path, *, bundle: Path, hyperparameters: Path) -> None:
        (folder / "models").mkdir(parents=True)
        self.tree = tree
        self.variables = {
            **inherited(),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(tree),
            "SQLITE_FILE": str(folder / "db.sqlite3"),
            "TEST_MODELS_DIR": str(folder / "models"),
            "GREGORY_BASE_MODELS": str(bundle),
            "GREGORY_HYPERPARAMETERS": str(hyperparameters),
        }

    def argv(self, *arguments: str) -> list[str]:
        """The command line of a management command."""
        return [sys.executable, str(self.tree / "manage.py"), *arguments]

    def manage(self, *arguments: str) -> None:
        """Execute a management command without its output. Raises CalledProcessError if it fails."""
        children.run(self.argv(*arguments), cwd=self.tree, env=self.variables, check=True, stdout=subprocess.DEVNULL)
