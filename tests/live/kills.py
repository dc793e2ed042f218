"""`python -m tests.live.kills`: predictions and promotions that are killed at random, on a real server and GregoryAI's newest tables.

Each round adds articles, starts a prediction and a promotion, and kills both with SIGKILL at random times: the command, its run, or
all processes at once. A reconciler closes the rows. Then no prediction is double, every article has the values of its predictions, the
promoted version is complete, and a row that names a success has no gap. The seed determines the times. Exit code 1: a difference.
"""

import argparse
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from gregory.ml.promotion import complete_versions, read_promotion
from tests.end_to_end.trainings import has_ended
from tests.live.articles_of_record import require_true_values
from tests.live.database import LiveDatabase, live
from tests.tiny_bundle import tiny_bundle
from tools import postgresql
from tools.installation import Installation

SUBJECT = ("--team", "neurology", "--subject", "ms", "--algo", "lgbm_tfidf")
PREDICT = ("predict_articles", *SUBJECT, "--all-articles")
VERSIONS = ("v1", "v2")
BATCH, NEW_ARTICLES = 4, 60
SECONDS = 300


@dataclass(kw_only=True)
class Trial:
    """The database and its installation. killed: the number of processes that lived when they were killed, by kind."""

    database: LiveDatabase
    installation: Installation
    rng: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    articles: int = 10_000

    @property
    def versions(self) -> Path:
        """The folder of the versions."""
        return self.installation.models / "neurology/ms/lgbm_tfidf"

    def written(self) -> int:
        """The number of predictions."""
        ((count,),) = self.database.execute("SELECT count(*) FROM gregory_mlpredictions")
        return int(count)

    def last_row(self) -> int:
        """The id of the newest row."""
        ((row,),) = self.database.execute("SELECT coalesce(max(id), 0) FROM gregory_predictionrunlog")
        return int(row)

    def waiting(self, version: str) -> int:
        """The number of the subject's articles without a prediction of the version."""
        ((count,),) = self.database.execute(
            "SELECT count(*) FROM articles_subjects m WHERE subject_id = 1 AND NOT EXISTS (SELECT FROM gregory_mlpredictions p "
            "WHERE p.article_id = m.articles_id AND p.subject_id = 1 AND p.algorithm = 'lgbm_tfidf' AND p.model_version = %s)",
            [version],
        )
        return int(count)


def prepare(trial: Trial) -> tuple[float, float]:
    """Train both versions. Returns the seconds of an undisturbed prediction and of an undisturbed promotion."""
    trial.installation.must("migrate", "-v0")
    for version in VERSIONS:
        trial.installation.must("train_models", *SUBJECT, "--all-articles", "--version", version)
    begin = time.monotonic()
    trial.installation.must("models", "promote", "v1", *SUBJECT)
    promoted = time.monotonic()
    trial.installation.must(*PREDICT)
    return time.monotonic() - promoted, promoted - begin


def one_round(trial: Trial, seconds: tuple[float, float]) -> list[str]:
    """Kill one prediction and one promotion. Returns every difference from what must hold."""
    whole, promotion = seconds
    trial.database.add_labelled(NEW_ARTICLES, first=trial.articles)
    trial.articles += NEW_ARTICLES
    before, history, last = trial.written(), len(_history(trial)), trial.last_row()
    with trial.installation.start(*PREDICT) as command:
        begin = time.monotonic()
        with trial.installation.start("models", "promote", trial.rng.choice(VERSIONS), *SUBJECT) as promoting:
            time.sleep(trial.rng.uniform(0, promotion))
            trial.killed["promotions"] += _kill([psutil.Process(promoting.pid)])
        if trial.rng.random() < 0.5:
            # Half of the kills fall into the writing, which is a short part of a prediction.
            _until(lambda: trial.written() > before or command.poll() is not None)
            time.sleep(trial.rng.uniform(0, whole / 20))
        else:
            time.sleep(max(0.0, trial.rng.uniform(0, whole) - (time.monotonic() - begin)))
        processes = _processes(command)
        if _kill(trial.rng.choice([processes, processes[:1], processes[1:2] or processes])):
            trial.killed["predictions"] += 1
            trial.killed["between two batches"] += trial.written() > before and trial.waiting(_used(trial)) > 0
        _until(lambda: all(map(has_ended, processes)))
    trial.installation.must("reconcile_runs", "--once")
    return list(differences(trial, history, last))


def differences(trial: Trial, history: int, last: int) -> Iterator[str]:
    """What does not hold. history, last: the number of promotions and the id of the newest row before the round."""
    for columns in trial.database.execute(
        "SELECT article_id, algorithm, model_version, count(*) FROM gregory_mlpredictions GROUP BY subject_id, 1, 2, 3 HAVING count(*) > 1"
    ):
        yield f"double: {columns}"
    try:
        require_true_values(trial.database)
    except AssertionError as error:
        yield f"values of articles: {error}"
    if _used(trial) not in complete_versions(trial.versions) or len(_history(trial)) - history not in (0, 1):
        yield f"promotion: {(trial.versions / 'promoted.json').read_text()}"
    for version, success, error in trial.database.execute(
        "SELECT model_version, success, error_message FROM gregory_predictionrunlog WHERE run_type = 'predict' AND id > %s", [last]
    ):
        if success is None or (success and trial.waiting(version)) or (success is False and not error):
            yield f"row of {version}: success {success}, {trial.waiting(version)} articles wait, error {error}"


def _used(trial: Trial) -> str:
    promotion = read_promotion(trial.versions)
    return "" if promotion is None else promotion.version


def _history(trial: Trial) -> Sequence[object]:
    promotion = read_promotion(trial.versions)
    return () if promotion is None else promotion.history


def _processes(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """The command, its run and the stage, as far as they live."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(command.pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _kill(processes: Sequence[psutil.Process]) -> bool:
    """Whether one of them lived."""
    lived = False
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            lived |= process.status() != psutil.STATUS_ZOMBIE
            process.kill()
    return lived


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {SECONDS} s")
        time.sleep(0.02)


@contextmanager
def a_trial(seed: int) -> Iterator[Trial]:
    """A server, a database and an installation, for the block."""
    programs = postgresql.binaries()
    if programs is None:
        raise SystemExit("a PostgreSQL server is missing; install one, for example: apt-get install postgresql")
    with TemporaryDirectory(prefix="gregory-kills-") as folder, postgresql.running(programs) as server:
        database = live(server, "newest")
        bundle = tiny_bundle(Path(folder) / "bundle")
        environment = {"GREGORY_BASE_MODELS": str(bundle), "TEST_BATCH": str(BATCH), **database.environment()}
        yield Trial(
            database=database, installation=Installation(Path(folder) / "installation", environment=environment), rng=random.Random(seed)
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print each round with a difference, then the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30, metavar="N", help="rounds (default 30)")
    parser.add_argument("--seconds", type=float, default=3600, metavar="N", help="begin no round after this time (default 3600)")
    parser.add_argument("--seed", type=int, default=19, metavar="N", help="the seed of the random times (default 19)")
    options = parser.parse_args(arguments)
    begin, found, done = time.monotonic(), 0, 0
    with a_trial(options.seed) as trial:
        seconds = prepare(trial)
        while done < options.kills and time.monotonic() - begin < options.seconds:
            done += 1
            for difference in one_round(trial, seconds):
                found += 1
                sys.stdout.write(f"round {done}: {difference}\n")
        trial.installation.must(*PREDICT)
        gap = trial.waiting(_used(trial))
        total = trial.written()
    killed = ", ".join(f"{count} {kind}" for kind, count in sorted(trial.killed.items()))
    took = time.monotonic() - begin
    sys.stdout.write(f"{done} rounds, killed: {killed}; differences: {found}; articles without a prediction at the end: {gap}; ")
    sys.stdout.write(f"{total} predictions; seed {options.seed}, {took:.0f} s\n")
    return 1 if found or gap else 0


if __name__ == "__main__":
    sys.exit(main())
