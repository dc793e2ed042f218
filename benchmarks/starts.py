"""Wall time and processor time of `train_models` for small subjects, of an older release and of this one, in alternating pairs.

    python -m benchmarks.starts [--before bbf93e9] [--cases 30:lgbm_tfidf ...] [--pairs 3]

Each subject has 120 labelled articles, and each release has its own database on SQLite and its own models. The processor time is that
of all processes of the command. "First line": the time to the first line of a stage.
"""

import argparse
import csv
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import children, ratios
from benchmarks.releases import BEFORE, REPOSITORY, Installation, release
from tests.tiny_bundle import tiny_bundle

ARTICLES = 120
CASES = ("30:lgbm_tfidf", "1:pubmed_bert,lgbm_tfidf,lstm")
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


def installed(tree: Path, folder: Path, *, data: Path, subjects: int) -> Installation:
    """A release with the articles of all subjects."""
    installation = Installation(tree, folder, bundle=data / "bundle", hyperparameters=data / "hyperparameters.yaml")
    installation.manage("migrate", "--verbosity", "0")
    installation.manage("shell", "-c", IMPORT.format(subjects=subjects, folder=data))
    return installation


def train(installation: Installation, algorithms: str) -> Times:
    """Train every subject once."""
    started, first_line = time.monotonic(), 0.0
    command = installation.argv("train_models", "--all-teams", "--all-articles", "--algo", algorithms, "--verbose", "2")
    with children.started(command, cwd=installation.tree, env=installation.variables, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if FIRST_LINE in line and not first_line:
                first_line = time.monotonic() - started
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not first_line:
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}")
    return Times(wall=time.monotonic() - started, processor=used.ru_utime + used.ru_stime, first_line=first_line)


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


def compare(subjects: int, algorithms: str, tree: Path, *, before: str, pairs: int) -> None:
    """Print one line for each release."""
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        write_data(data, subjects=subjects)
        old, new = (installed(code, data / name, data=data, subjects=subjects) for name, code in (("old", tree), ("new", REPOSITORY)))
        found = [(train(old, algorithms), train(new, algorithms)) for _ in range(pairs)]
    earlier, now = ([pair[side] for pair in found] for side in (0, 1))
    case = f"{algorithms}, subjects: {subjects}"
    print(f"{case}, articles of each: {ARTICLES}, pairs: {pairs}, processors: {os.cpu_count()}\n")
    print("| release | wall, s | before / this | processor, s | before / this | first line, s | before / this |")
    print("|---|---|---|---|---|---|---|")
    show(before, earlier, earlier)
    show("this", now, earlier)
    print(flush=True)
    for field, figure in {"wall": "wall time", "processor": "processor time", "first_line": "time to the first line"}.items():
        gains = [getattr(one, field) / getattr(other, field) for one, other in found]
        ratios.show(f"{figure}: {case}", gains, baseline=before)


def main() -> None:
    """Compare all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, help="commit of the older release")
    parser.add_argument("--cases", nargs="+", default=CASES, metavar="SUBJECTS:ALGORITHMS", help=f"(default {' '.join(CASES)})")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with release(options.before) as tree:
        for case in options.cases:
            subjects, _, algorithms = case.partition(":")
            compare(int(subjects), algorithms, tree, before=options.before, pairs=options.pairs)


if __name__ == "__main__":
    children.execute(main)
