"""Wall time of `make demo` after its set-up, of an older release and of this one, in alternating pairs.

    python -m benchmarks.demo [--before bbf93e9] [--pairs 1] [--at-once 3]

Both releases import the demo articles of this one, and train with its hyper-parameters for the demo. So rows and epochs are the same.
Each demo has a new database and makes its own bundle. This release trains all three subjects at the same time, as `make demo` does, or
--at-once of them. The older release trains one after the other.
"""

import argparse
import csv
import os
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import children, ratios
from benchmarks.releases import BEFORE, REPOSITORY, Installation, release
from gregory.data.demo import generate

HYPERPARAMETERS = REPOSITORY / "gregory/data/demo/hyperparameters.yaml"
# As in the Makefile.
AT_ONCE = 3
HEADER = ("article_id", "title", "abstract", "relevant", "discovery_date")


def write_articles(folder: Path) -> dict[tuple[str, str], Path]:
    """A CSV file for each team and subject."""
    rows: dict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    for article in generate(datetime.now(UTC).date()):
        for review in article.reviews:
            label = "" if review.label is None else str(int(review.label))
            cells = (str(article.article_id), article.title, article.abstract, label, article.discovery_date.isoformat())
            rows[review.team, review.subject].append(cells)
    files = {}
    for subject, found in rows.items():
        files[subject] = folder / f"{subject[1]}.csv"
        with files[subject].open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([HEADER, *found])
    return files


def seconds(tree: Path, folder: Path, articles: dict[tuple[str, str], Path], *, at_once: int) -> float:
    """Seconds of the commands of `make demo`."""
    installation = Installation(tree, folder, bundle=folder / "base_models", hyperparameters=HYPERPARAMETERS)
    # The older release does not know it.
    installation.variables["GREGORY_LOCAL_RUNS"] = str(at_once)
    started = time.monotonic()
    installation.manage("migrate", "--verbosity", "0")
    installation.manage("prepare_base_models", "--demo")
    for (team, subject), file in articles.items():
        installation.manage("import_articles", str(file), "--team", team, "--subject", subject)
    installation.manage("train_models", "--all-teams", "--verbose", "3")
    return time.monotonic() - started


def main() -> None:
    """Print one line for each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, help="commit of the older release")
    parser.add_argument("--pairs", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help=f"local runs at once (default {AT_ONCE})")
    options = parser.parse_args()
    found = []
    with release(options.before) as older, tempfile.TemporaryDirectory(prefix="demo-") as temporary:
        articles = write_articles(Path(temporary))
        print(f"processors: {os.cpu_count()}\n\n| pair | {options.before}, s | this release, s |\n|---|---|---|")
        for number in range(options.pairs):
            before, now = (
                seconds(tree, Path(temporary, f"{name}-{number}"), articles, at_once=options.at_once)
                for name, tree in (("before", older), ("now", REPOSITORY))
            )
            found.append(before / now)
            print(f"| {number + 1} | {before:.1f} | {now:.1f} |", flush=True)
    ratios.show(f"wall time of the demo, runs at once: {options.at_once}", found, baseline=options.before)


if __name__ == "__main__":
    children.execute(main)
