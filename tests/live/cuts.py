"""`python -m tests.live.cuts`: a whole LightGBM run for each message to the database, whose connection is cut at that message, once.

Each message is cut twice: before the server gets it, and after the server has executed it, so that only the answer is lost. Command,
run, stages and server are real. The processes are forks, so that no run imports a library. The program prints each run that does not
end like an undisturbed one, then the figures. Its exit code is 1 if there is such a run.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

from psycopg.rows import dict_row

from tests.live.cutting_proxy import CuttingProxy
from tools import postgresql
from tools.installation import ROWS, Installation
from tools.postgresql import Server

TEMPLATE = "cuts"
COMMAND = ("train_models", "--team", "t", "--subject", "s", "--algo", "lgbm_tfidf")
ARTICLES = 40
# All that a run imports later. A fork of this process has it.
LIBRARIES = (
    "gregory.launch.local.runner", "gregory.management.commands.train_models", "gregory.ml.baseline", "gregory.ml.evaluator",
    "gregory.ml.load", "gregory.ml.model_card.facts", "gregory.ml.model_card.page", "gregory.ml.stages.work", "gregory.ml.summarise",
    "gregory.ml.summarisers.leading", "gregory.ml.trainers.lgbm", "job.entrypoint", "matplotlib.backends.backend_svg", "matplotlib.figure",
    "matplotlib.style", "sklearn.metrics", "sklearn.model_selection",
)  # fmt: skip
# Short pauses between the repetitions of a call. The connection is cut once, so one repetition is enough.
PAUSES = "0.02 0.05 0.1 0.2 0.5 1 2 5"
SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A message, counted from 1, and whether the server executes it."""

    message: int
    executed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run. text: the message at the cut, empty if the run had fewer messages. lost: its training did not end in success.

    problems: every difference from an undisturbed run.
    """

    cut: Cut
    messages: int
    text: str
    exit_code: int
    lost: bool
    problems: list[str]
    output: str


def messages_and_outcomes(*, sample: int | None, jobs: int, bundle: Path | None = None) -> tuple[int, list[Outcome]]:
    """The number of messages of an undisturbed run, and one run for each cut. sample: only so many cuts, evenly drawn."""
    programs = postgresql.binaries()
    assert programs is not None, "install a PostgreSQL server"
    with TemporaryDirectory(prefix="gregory-cuts-") as folder, postgresql.running(programs) as server:
        work = _Work(Path(folder), server, bundle)
        (undisturbed,) = work.outcomes([Cut(message=0, executed=False)], jobs=1)
        assert not undisturbed.problems, undisturbed
        cuts = [Cut(message=number, executed=executed) for number in range(1, undisturbed.messages + 1) for executed in (False, True)]
        if sample is not None:
            cuts = [cuts[len(cuts) * index // sample] for index in range(sample)]
        return undisturbed.messages, work.outcomes(cuts, jobs=jobs)


class _Work:
    """The folder, the server and the loaded libraries of all runs. This process has no threads, so it may fork."""

    def __init__(self, folder: Path, server: Server, bundle: Path | None) -> None:
        from tests.articles import labelled, store
        from tests.tiny_bundle import tiny_bundle

        self._folder, self._server = folder, server
        bundle = bundle or tiny_bundle(folder / "base_models")
        server.create(TEMPLATE)
        environment = {"GREGORY_BASE_MODELS": str(bundle), "TEST_PAUSES": PAUSES, **server.environment(TEMPLATE)}
        installation = Installation(folder / "installation", environment=environment)
        installation.must("migrate", "-v0")
        # The dialogue with the database is that of a long training.
        installation.set_hyperparameters("lgbm: {rounds: 2}\n")
        store(installation, labelled(ARTICLES, first=1), subject="s")
        os.environ.update(installation.environment)
        import django

        django.setup()
        for name in LIBRARIES:
            import_module(name)
        from gregory.launch.local import starter
        from tests.live.forked import ForkedPopen

        subprocess.Popen = ForkedPopen  # type: ignore[misc]
        # A fork server would be a fork of this process too, and would gain nothing.
        starter.start_server = lambda *arguments, **options: None

    def outcomes(self, cuts: Sequence[Cut], *, jobs: int) -> list[Outcome]:
        """Make one run for each cut, `jobs` at a time."""
        waiting, running = list(cuts), dict[int, Path]()
        found = []
        while waiting or running:
            if waiting and len(running) < jobs:
                cut = waiting.pop(0)
                file = self._folder / f"{cut.message}-{cut.executed}.json"
                if (pid := os.fork()) == 0:
                    self._be_driver(cut, file)
                running[pid] = file
                continue
            pid, _ = os.wait()
            made = json.loads(running.pop(pid).read_text(encoding="utf-8"))
            found.append(Outcome(**{**made, "cut": Cut(**made["cut"])}))
        return sorted(found, key=lambda outcome: (outcome.cut.message, outcome.cut.executed))

    def _be_driver(self, cut: Cut, file: Path) -> NoReturn:
        code = 1
        try:
            file.write_text(json.dumps(asdict(self._drive(cut, file.with_suffix("")))), encoding="utf-8")
            code = 0
        finally:
            os._exit(code)

    def _drive(self, cut: Cut, folder: Path) -> Outcome:
        # More threads than free processors cost time.
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[(2 * cut.message + cut.executed) % len(processors)]})
        models = folder / "models"
        models.mkdir(parents=True)
        database = f"{TEMPLATE}_{cut.message}_{int(cut.executed)}"
        self._server.create(database, template=TEMPLATE)
        proxy = CuttingProxy(server_port=self._server.port, cut_at=cut.message, executed=cut.executed)
        # The command is forked before the proxy starts its threads.
        command = _fork_command(COMMAND, models, database, proxy.port, folder / "output")
        proxy.start()
        code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        proxy.close()
        rows, events = self._read(database)
        problems = list(_problems(code, rows, events, models))
        lost = [row["success"] for row in rows] != [True]
        output = (folder / "output").read_text(encoding="utf-8", errors="replace")
        return Outcome(cut=cut, messages=proxy.seen, text=proxy.cut, exit_code=code, lost=lost, problems=problems, output=output)

    def _read(self, database: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        with self._server.connect(database, row_factory=dict_row) as connection:
            return connection.execute(ROWS).fetchall(), connection.execute("SELECT kind, message FROM gregory_runs_runevent").fetchall()


def _fork_command(arguments: Sequence[str], models: Path, database: str, port: int, output: Path) -> int:
    """Start a management command as a fork. Returns its process id."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        import signal

        from django.conf import settings
        from django.core.management import execute_from_command_line
        from django.db import connection

        signal.alarm(SECONDS)
        with output.open("w", encoding="utf-8") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        settings.MODELS_DIR = models
        connection.settings_dict.update(NAME=database, PORT=port)
        os.environ.update(POSTGRES_DB=database, DB_PORT=str(port), TEST_MODELS_DIR=str(models))
        execute_from_command_line(["manage.py", *arguments])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process has no caller
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _problems(code: int, rows: list[dict[str, Any]], events: list[dict[str, Any]], models: Path) -> list[str]:
    from gregory.ml import artifacts

    found = [f"exit code {code}"] if code else []
    if len(rows) != 1:
        found.append(f"{len(rows)} rows")
    for row in rows:
        facts = {
            name: row[name] for name in ("success", "finished", "error", "reason", "stage", "attempt", "state", "run_reason", "detail")
        }
        expected = {"success": True, "finished": True, "error": None, "reason": "", "stage": "ended", "attempt": 1, "state": "succeeded",
                    "run_reason": "", "detail": ""}  # fmt: skip
        found += [f"{name} {facts[name]!r}" for name in facts if facts[name] != expected[name]]
        if row["success"] and "test_f1" not in row["metrics"]:
            found.append("no metrics")
    folders = list(artifacts.version_folders(models))
    if [folder.relative_to(models).as_posix() for folder in folders] != [row["artifact"] for row in rows if row["success"]]:
        found.append(f"folders {[str(folder) for folder in folders]}")
    found += [problem for folder in folders for problem in artifacts.verify(folder)]
    found += [f"event {event['kind']}: {event['message']}" for event in events]
    found += [f"left behind: {path.name}" for path in models.glob("[!.]*/[!.]*/.runs/[!.]*")]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the runs with a difference, then the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.live.cuts", description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", type=int, metavar="N", help="only N cuts, evenly drawn (default: every message, twice)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="runs at a time (default: processors)")
    options = parser.parse_args(arguments)
    messages, outcomes = messages_and_outcomes(sample=options.sample, jobs=options.jobs)
    for outcome in outcomes:
        if outcome.problems:
            when = "after" if outcome.cut.executed else "before"
            sys.stdout.write(f"cut {when} message {outcome.cut.message}: {outcome.text[:200]}\n")
            sys.stdout.write("".join(f"  {problem}\n" for problem in outcome.problems))
            sys.stdout.write("".join(f"  | {line}\n" for line in outcome.output.splitlines()[-8:]))
    wrong = [outcome for outcome in outcomes if outcome.problems]
    codes = dict(sorted(Counter(outcome.exit_code for outcome in outcomes).items()))
    cut = sum(bool(outcome.text) for outcome in outcomes)
    lost = sum(outcome.lost for outcome in outcomes)
    sys.stdout.write(
        f"{messages} messages of an undisturbed run, {len(outcomes)} runs, {cut} cuts; runs with a difference: {len(wrong)}; "
        f"trainings lost: {lost}; runs by exit code: {codes}\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
