"""Processor time and peak memory of an import of 25,000 articles with 35 MB, beside an older release.

    python -m benchmarks.import_articles [--before bbf93e9] [--articles 25000] [--rounds 3]

The file is made with a seed: CSV for both releases, and the same rows as .xlsx for this one. Each import is a process of its own with an
empty SQLite database. The releases alternate, and the smallest figures of each count.
"""

import argparse
import csv
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from openpyxl import Workbook

from benchmarks import children, ratios
from benchmarks.releases import BEFORE, REPOSITORY, release

HEADER = ("id", "title", "abstract", "label", "discovery_date")
WORDS = [f"w{number}" for number in range(3000)]
# Runs one command and prints its processor time in seconds and its peak memory in KiB. SIGTERM ends the command too.
MEASURED = """
import resource, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def articles(count: int) -> list[tuple[int, str, str, int, str]]:
    """Rows with quotes, accents, commas and line breaks."""
    choices = random.Random(1)
    return [
        (
            number,
            f'A "quoted" naïve title, part {number}',
            "Objective: words, and more.\n" + " ".join(choices.choices(WORDS, k=230)),
            number % 2,
            "2024-02-03 04:05:06+00:00",
        )
        for number in range(1, count + 1)
    ]


def write(folder: Path, count: int) -> tuple[Path, Path]:
    """The CSV file and the workbook."""
    rows = [HEADER, *articles(count)]
    table, book = folder / "articles.csv", Workbook(write_only=True)
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    sheet = book.create_sheet("articles")
    for row in rows:
        sheet.append(row)
    book.save(folder / "articles.xlsx")
    return table, folder / "articles.xlsx"


def measure(tree: Path, file: Path, database: Path) -> tuple[float, float]:
    """Processor seconds and peak MiB of one import by the release in this folder."""
    database.unlink(missing_ok=True)
    command = [sys.executable, "manage.py"]
    environment = {"PATH": "", "SQLITE_FILE": str(database)}
    children.run([*command, "migrate", "-v0"], cwd=tree, env=environment, check=True)
    imported = [*command, "import_articles", str(file), "--team", "a", "--subject", "b"]
    argv = [sys.executable, "-c", MEASURED, *imported]
    done = children.run(argv, cwd=tree, env=environment, check=True, capture_output=True)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak / 1024


def main() -> None:
    """Print the figures and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", default=BEFORE, help="commit of the older release")
    parser.add_argument("--articles", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with TemporaryDirectory() as temporary, release(options.before) as older:
        table, book = write(Path(temporary), options.articles)
        print(f"{options.articles} articles, {table.stat().st_size / 1e6:.0f} MB of CSV")
        cases = {"baseline, CSV": (older, table), "this, CSV": (REPOSITORY, table), "this, .xlsx": (REPOSITORY, book)}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(options.rounds):
            for name, (tree, file) in cases.items():
                found[name].append(measure(tree, file, Path(temporary) / "db.sqlite3"))
    base_seconds, base_peak = (min(values) for values in zip(*found["baseline, CSV"], strict=True))
    for name, figures in found.items():
        seconds, peak = (min(values) for values in zip(*figures, strict=True))
        print(f"{name}: {seconds:.2f} s ({seconds / base_seconds:.2f}), {peak:.0f} MiB ({peak / base_peak:.2f})")
    for number, figure in enumerate(("processor time", "peak memory")):
        pairs = zip(found["baseline, CSV"], found["this, CSV"], strict=True)
        ratios.show(
            f"{figure} of {options.articles} articles", [before[number] / this[number] for before, this in pairs], baseline=options.before
        )


if __name__ == "__main__":
    children.execute(main)
