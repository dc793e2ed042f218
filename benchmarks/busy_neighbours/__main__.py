"""Processor time and wall time of each library with threads, alone and beside busy processes, of an older release and of this one.

    python -m benchmarks.busy_neighbours --data DIR [--quick] [--encoder base_models/encoder] [--before bbf93e9] [--only NAME ...]
        [--neighbours N]

DIR contains labelled CSV files. Each line of the table is a workload in a process of its own, with the environment and the number of
threads of a stage. Fair share: the wall time if each runnable thread gets the same part of the processors, and the workload has one.
Exit code 1: a line of this release misses the target.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import children, ratios
from benchmarks.busy_neighbours import workloads
from benchmarks.labelled_files import read
from benchmarks.releases import BEFORE, REPOSITORY, release
from tests.ml.tiny_bart import tiny_bart

SUBJECT = "drug_reviews/ADHD"
# Busy processes for each processor.
NEIGHBOURS = 2
# The most processor time beside busy processes, in that of the same work alone, for the work of stages.
TARGET = 1.3
TARGETED = ("lgbm_tfidf", "lstm", "pubmed_bert", "summariser")
# Of LightGBM, as specified. Fewer rounds are mostly the start of the process.
ROUNDS = 100
# The least gain of LightGBM beside busy processes, in wall time.
GAIN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """epochs, examples: of the networks. repeats: of each measurement, and the table has the medians."""

    epochs: int
    examples: int
    repeats: int


WHOLE = Size(epochs=3, examples=256, repeats=3)
QUICK = Size(epochs=1, examples=32, repeats=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds of processor and of wall time."""

    processor: float
    wall: float


def prepare(folder: Path, data: Path, encoder: Path, size: Size) -> None:
    """Write the input of all workloads."""
    whole = [(example.text, example.label) for example in read(data / f"{SUBJECT}.csv", words=None).examples]
    # Every class is in each part.
    short = [(example.text, example.label) for example in read(data / f"{SUBJECT}.csv", words=60).examples]
    short = sorted(short, key=lambda pair: -pair[1])[: size.examples // 4] + [pair for pair in short if not pair[1]][: size.examples]
    networks: dict[str, Any] = {"train": short[: size.examples], "validation": short[size.examples // 8 : size.examples // 2]}
    write(folder / "lgbm_tfidf.json", {"hyperparameters": {"lgbm": {"rounds": ROUNDS}}, "train": whole, "validation": whole[::7]})
    write(folder / "lstm.json", {"hyperparameters": {"lstm": {"epochs": size.epochs}}, **networks})
    write(folder / "pubmed_bert.json", {"hyperparameters": {"bert": {"epochs": size.epochs}}, **networks})
    write(folder / "summariser.json", [[text for text, _ in short[start : start + 4]] for start in range(0, size.examples, 4)])
    write(folder / "scikit-learn.json", whole)
    (folder / "encoder").symlink_to(encoder.resolve())
    tiny_bart(folder / "summariser", width=256, layers=3)


def write(path: Path, content: object) -> None:
    """Write a file of JSON."""
    path.write_text(json.dumps(content), encoding="utf-8")


def measure(name: str, folder: Path, tree: Path, *, repeats: int) -> Times:
    """The medians of a workload with the code of `tree`."""
    found = [run(name, folder, tree, run("environment", folder, tree, dict(os.environ))) for _ in range(repeats)]
    return Times(**{key: statistics.median(times[key] for times in found) for key in ("processor", "wall")})


def run(name: str, folder: Path, tree: Path, environment: dict[str, str]) -> dict[str, Any]:
    """The output of a process of `workloads`."""
    command = [sys.executable, str(Path(workloads.__file__)), name, str(folder)]
    done = children.run(command, cwd=tree, env=environment, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{name} with the code of {tree}: {done.stderr}")
    # Libraries may print before.
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Processes that need a whole processor each."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(children.started([sys.executable, "-c", "while True: pass"]))
        yield


def compare(names: list[str], folder: Path, trees: dict[str, Path], *, repeats: int, neighbours: int) -> bool:
    """Print a line for each workload and release. True if this release reaches the targets."""
    busy_walls: dict[tuple[str, str], float] = {}
    alone_processors: dict[tuple[str, str], float] = {}
    reached = True
    processors = len(os.sched_getaffinity(0))
    busy_number = neighbours * processors
    print(f"{processors} processors, {busy_number} busy processes, load {os.getloadavg()[0]:.1f} before the first measurement\n")
    print("| workload | release | alone: processor, s | wall, s | busy: processor, s | wall, s | fair share, s | processor, busy / alone |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        for release_name, tree in trees.items():
            alone = measure(name, folder, tree, repeats=repeats)
            with busy_processes(busy_number):
                busy = measure(name, folder, tree, repeats=repeats)
            ratio = busy.processor / alone.processor
            busy_walls[name, release_name] = busy.wall
            alone_processors[name, release_name] = alone.processor
            reached = reached and (ratio <= TARGET or tree != REPOSITORY or name not in TARGETED)
            share = alone.processor * (busy_number + 1) / processors
            figures = f"{alone.processor:.2f} | {alone.wall:.2f} | {busy.processor:.2f} | {busy.wall:.2f} | {share:.2f} | {ratio:.2f}"
            print(f"| {name} | {release_name} | {figures} |", flush=True)
    if len(trees) == 2:
        before, now = trees
        for name in names:
            walls, processor = ([found[name, before] / found[name, now]] for found in (busy_walls, alone_processors))
            ratios.show(f"wall time of {name} beside busy processes", walls, baseline=before)
            ratios.show(f"processor time of {name} alone", processor, baseline=before)
    if len(trees) == 2 and "lgbm_tfidf" in names:
        gain = busy_walls["lgbm_tfidf", before] / busy_walls["lgbm_tfidf", now]
        print(f"\nLightGBM beside busy processes: {gain:.1f} times as fast as before")
        reached = reached and gain >= GAIN
    return reached


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the labelled CSV files")
    parser.add_argument("--encoder", type=Path, default=Path("base_models/encoder"))
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help="the older release; empty: none")
    parser.add_argument("--only", nargs="+", choices=workloads.WORKLOADS, default=list(workloads.WORKLOADS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="one repeat and small networks, for two processors")
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, metavar="N", help="busy processes for each processor")
    options = parser.parse_args()
    size = QUICK if options.quick else WHOLE
    with tempfile.TemporaryDirectory(prefix="busy-") as made:
        folder = Path(made)
        prepare(folder, options.data, options.encoder, size)
        if not options.before:
            return not compare(options.only, folder, {"this": REPOSITORY}, repeats=size.repeats, neighbours=options.neighbours)
        with release(options.before) as older:
            return not compare(
                options.only, folder, {options.before: older, "this": REPOSITORY}, repeats=size.repeats, neighbours=options.neighbours
            )


if __name__ == "__main__":
    children.execute(main)
