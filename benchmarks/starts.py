"""Wall time and processor time of `train_models` for small subjects, of an older release and of this one, in alternating pairs.

    python -m benchmarks.starts [--before bbf93e9] [--subjects 30] [--algo lgbm_tfidf] [--pairs 3]

Each subject has 120 labelled articles, and each release has its own database on SQLite and its own models. The processor time is that
of all processes of the command. "First line": the time to the first line of a stage.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ratios
from benchmarks.busy_neighbours.__main__ import BEFORE, REPOSITORY, release
from tests.tiny_bundle import tiny_bundle

ARTICLES = 120
# The last line of the summaries is the first line of a stage: no abstract needs five seconds.
FIRST_LINE = "summarised "
IMPORT = """
from django.core.management import call_command
for number in range({subjects}):
    call_command("import_articles", f"{folder}/{{number}}.csv", team="t", subject=f"s{{number}}")
"""
HYPERPARAMETERS = "bert: {epochs: 1, max_length: 32}\nlstm: {epochs: 1}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of one command."""

    wall: float
    processor: float
    first_line: float


class Release:
    """A release with its own database and models."""

    def __init__(self, tree: Path, folder: Path, *, data: Path, subjects: int) -> None:
        folder.mkdir()
        self._tree = tree
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GREGORY_", "POSTGRES_", "DB_"))}
        self._environment = {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": str(tree),
            "SQLITE_FILE": str(folder / "db.sqlite3"),
            "TEST_MODELS_DIR": str(folder / "models"),
            "GREGORY_BASE_MODELS": str(data / "bundle"),
            "GREGORY_HYPERPARAMETERS": str(data / "hyperparameters.yaml"),
        }
        (folder / "models").mkdir()
        self._must("migrate", "--verbosity", "0")
        self._must("shell", "-c", IMPORT.format(subjects=subjects, folder=data))

    def train(self, algorithms: str) -> Times:
        """Train every subject once."""
        started, first_line = time.monotonic(), 0.0
        command = self._command("train_models", "--all-teams", "--all-articles", "--algo", algorithms, "--verbose", "2")
        with subprocess.Popen(command, cwd=self._tree, env=self._environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if FIRST_LINE in line and not first_line:
                    first_line = time.monotonic() - started
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0 or not first_line:
            raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}")
        return Times(wall=time.monotonic() - started, processor=used.ru_utime + used.ru_stime, first_line=first_line)

    def _must(self, *arguments: str) -> None:
        subprocess.run(self._command(*arguments), cwd=self._tree, env=self._environment, check=True, stdout=subprocess.DEVNULL)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self._tree / "manage.py"), *arguments]


def write_data(folder: Path, *, subjects: int) -> None:
    """The bundle, and one labelled file for each subject."""
    tiny_bundle(folder / "bundle")
    (folder / "hyperparameters.yaml").write_text(HYPERPARAMETERS)
    words = (("tax", "harvest", "weather"), ("myelin", "lesion", "relapse"))
    for subject in range(subjects):
        with (folder / f"{subject}.csv").open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(("article_id", "title", "abstract", "relevant"))
            for number in range(ARTICLES):
                label = number % 3 == 0
                chosen = words[label != (number % 10 == 0)]
                title = f"{chosen[number % 3]} {chosen[number % 2]} {number} of {subject}"
                abstract = f"Study {number} on {chosen[number % 3]} number {number % 7}. It has {number} patients."
                table.writerow((subject * ARTICLES + number + 1, title, abstract, int(label)))


def show(name: str, times: Sequence[Times], before: Sequence[Times]) -> None:
    """One line: the medians, and the medians of the ratios of the pairs."""
    cells = []
    for field in ("wall", "processor", "first_line"):
        values = [getattr(one, field) for one in times]
        ratios = [getattr(old, field) / value for old, value in zip(before, values, strict=True)]
        cells += [f"{statistics.median(values):.2f}", f"{statistics.median(ratios):.2f}"]
    print(f"| {name} | {' | '.join(cells)} |")


def main() -> int:
    """Print one line for each release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, help="commit of the older release")
    parser.add_argument("--subjects", type=int, default=30)
    parser.add_argument("--algo", default="lgbm_tfidf", help="as the flag of train_models")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with release(options.before) as tree, tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        write_data(data, subjects=options.subjects)
        old = Release(tree, data / "old", data=data, subjects=options.subjects)
        new = Release(REPOSITORY, data / "new", data=data, subjects=options.subjects)
        pairs = [(old.train(options.algo), new.train(options.algo)) for _ in range(options.pairs)]
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    print(f"{options.subjects} subjects of {ARTICLES} articles, {options.algo}, {options.pairs} pairs, {os.cpu_count()} processors\n")
    print("| release | wall, s | before / this | processor, s | before / this | first line, s | before / this |")
    print("|---|---|---|---|---|---|---|")
    show(options.before, before, before)
    show("this", after, before)
    for field, figure in {"wall": "wall time", "processor": "processor time", "first_line": "time to the first line"}.items():
        found = [getattr(one, field) / getattr(other, field) for one, other in pairs]
        ratios.show(f"{figure} of {options.subjects} subjects, {options.algo}", found, baseline=options.before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
