"""manage.py train_models: flags -> request -> plan -> rows -> one run per subject, followed to its end; or one run once more."""

import getpass
import socket
from argparse import ArgumentParser
from io import StringIO
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import DatabaseError
from django.utils import timezone

from gregory.launch.errors import LaunchError, UnknownRunner
from gregory.launch.registry import RUNNERS
from gregory.launch.runner import Runner
from gregory.management import concurrent, sequential
from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.runners import runner_named
from gregory.management.termination import Terminated, signals_raise
from gregory.ml.config import ALGORITHMS, DEFAULT_LOOKBACK_DAYS, DEFAULT_THRESHOLD, load_hyperparameters
from gregory.ml.errors import ConfigError
from gregory.reporting import summary
from gregory.runs import store
from gregory.runs.spec import RunSpec
from gregory.runs.store import RunRefused
from gregory.training import planning, request, resume

FAILURE, USAGE = 1, 2


class Command(BaseCommand):
    """The operator's way to start trainings. Exit code 0: all succeeded; 1: something failed; 2: usage."""

    help = "Train the classifiers of a team's subjects into versioned folders, one PredictionRunLog row per subject and algorithm."
    # The checks are for a web site; a command that must answer at once does without.
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django has a --version of its own; here the spec's --version V wins."""
        self._parser = super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)
        return self._parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Every flag of spec section 2, then ours. Rules between flags live in gregory.training.request."""
        parser.add_argument("--team", metavar="SLUG", help="train the subjects of this team")
        parser.add_argument("--subject", metavar="SLUG", help="train this subject of the team only")
        parser.add_argument("--all-teams", action="store_true", help="train every team; --team and --subject are ignored")
        parser.add_argument("--all-articles", action="store_true", help="use every labelled article, whatever its age")
        parser.add_argument(
            "--lookback-days", type=int, metavar="N", help=f"use articles discovered in the last N days (default {DEFAULT_LOOKBACK_DAYS})"
        )
        parser.add_argument("--algo", metavar="A,B,C", help=f"algorithms, in the order to train them (default {','.join(ALGORITHMS)})")
        parser.add_argument(
            "--prob-threshold",
            type=float,
            metavar="X",
            help=f"probability from which an article counts as relevant (default {DEFAULT_THRESHOLD:g})",
        )
        parser.add_argument("--version", dest="model_version", metavar="V", help="name of the version (default YYYYMMDD, then _2, _3 ...)")
        parser.add_argument("--pseudo-label", action="store_true", help="let BERT label unreviewed articles first and train on those too")
        parser.add_argument(
            "--verbose", type=int, choices=range(4), default=1, help="0 nothing, 1 progress, 2 and warnings, 3 and the table of all metrics"
        )
        parser.add_argument("--runner", metavar="NAME", help=f"where runs go: {', '.join(RUNNERS)} (default {settings.RUNNER})")
        parser.add_argument(
            "--wait", action="store_true", help="return when every run has ended, also where runs need nobody to follow them"
        )
        parser.add_argument("--resume", metavar="RUN_ID", help="continue this run where it stopped, with everything as it was asked then")
        parser.add_argument("--dry-run", action="store_true", help="print the runs that would start and write nothing")
        parser.add_argument(
            "--output",
            choices=["table", "json"],
            default="table",
            help="form of what --dry-run prints; json has the requests to a cluster, too",
        )

    def handle(self, *args: Any, **flags: Any) -> None:
        """Translate every expected problem into one clear line and the right exit code."""
        try:
            self._train(flags)
        except request.UsageError as error:
            self.stderr.write(self._usage())
            raise CommandError(str(error), returncode=USAGE) from error
        except UnknownRunner as error:
            raise CommandError(f"--runner: {error}", returncode=USAGE) from error
        except (ConfigError, LaunchError, RunRefused) as error:
            self._fail(flags, str(error), cause=error)
        except DatabaseError as error:
            self._fail(flags, describe(error), cause=error)

    def _train(self, flags: dict[str, Any]) -> None:
        run_id = request.run_to_resume(flags)
        if run_id is not None:
            self._resume(run_id, flags)
            return
        wanted = request.from_flags(flags, hyperparameters=load_hyperparameters(settings.HYPERPARAMETERS_FILE))
        runner = runner_named(flags["runner"] or settings.RUNNER)
        specs = planning.plan(
            wanted, models_dir=settings.MODELS_DIR, now=timezone.now(), require_gpu=settings.REQUIRE_GPU or runner.gives_gpu
        )
        if flags["dry_run"]:
            self._print_plan(specs, runner, as_json=flags["output"] == "json")
            return
        runner.check()
        console = Console(self.stdout, self.style, verbosity=wanted.verbosity)
        opened, refusals = self._open(specs, runner, console)
        self._follow(flags, opened, runner, console)
        self._conclude(flags, opened, refusals, going_on=runner.max_parallel != 1 and not flags["wait"])

    def _resume(self, run_id: str, flags: dict[str, Any]) -> None:
        """One more attempt at a run that ended without success."""
        models_dir, stale_after = settings.MODELS_DIR, settings.STALE_AFTER_SECONDS
        run = resume.find(run_id, runner_named, models_dir=models_dir, stale_after=stale_after)
        if flags["runner"] not in (None, run.runner):
            raise request.UsageError(f"--runner {flags['runner']}: run {run_id} is one of the runner {run.runner}; leave --runner out")
        runner = runner_named(run.runner)
        runner.check()
        console = Console(self.stdout, self.style, verbosity=flags["verbose"])
        spec = resume.next_attempt(
            run,
            runner,
            models_dir=models_dir,
            stale_after=stale_after,
            now=timezone.now(),
            verbosity=flags["verbose"],
            triggered_by=_triggered_by(),
        )
        if store.is_unfinished(spec):
            remaining = ", ".join(f"{algorithm.algorithm} {algorithm.version}" for algorithm in spec.algorithms)
            console.info(f"{spec.label}: run {run_id} is resumed, attempt {spec.attempt}: {remaining}")
            self._follow(flags, [spec], runner, console)
        else:
            console.info(f"{spec.label}: every model of run {run_id} was complete, and its rows say so now; nothing is trained")
            runner.cleanup(spec)
        self._conclude(flags, [spec], [], going_on=runner.max_parallel != 1 and not flags["wait"])

    def _open(self, specs: list[RunSpec], runner: Runner, console: Console) -> tuple[list[RunSpec], list[str]]:
        """Rows first, for every subject; nothing starts before its rows are committed."""
        opened, refusals = [], []
        for spec in specs:
            try:
                opened.append(store.open_run(spec, runner=runner.name, handle=runner.owner_handle(), triggered_by=_triggered_by()))
            except RunRefused as refused:
                refusals.append(str(refused))
                console.warn(f"refused: {refused}")
        return opened, refusals

    def _follow(self, flags: dict[str, Any], opened: list[RunSpec], runner: Runner, console: Console) -> None:
        try:
            with signals_raise():
                if runner.max_parallel == 1:
                    sequential.execute(opened, runner, console)
                else:
                    self._submit_all(flags, opened, runner, console)
        except Terminated as terminated:
            left = ["every open row was closed"]
            if runner.max_parallel != 1:
                left = ["what was submitted goes on", concurrent.how_to_go_on(opened)]
            message = "; ".join([str(terminated), *left, *_hints(opened)])
            self._fail(flags, message, returncode=128 + terminated.number)
        finally:
            console.close()

    def _submit_all(self, flags: dict[str, Any], opened: list[RunSpec], runner: Runner, console: Console) -> None:
        concurrent.submit_all(opened, runner, console)
        if flags["wait"]:
            concurrent.wait(opened, runner, console)
        elif opened:
            console.info(concurrent.how_to_go_on(opened))

    def _conclude(self, flags: dict[str, Any], opened: list[RunSpec], refusals: list[str], *, going_on: bool) -> None:
        rows = summary.outcomes(opened)
        if flags["verbose"] >= 3 and rows and not going_on:
            self.stdout.write(f"Reports: {settings.MODELS_DIR}/<team>/<subject>/<algorithm>/<version>/report.html")
            self.stdout.write(summary.summary_table(rows))
        # A run that is left to itself may still succeed; one that was waited for, or followed, has ended.
        failed = sum(row.success is False or (row.success is None and not going_on) for row in rows)
        problems = [f"{failed} of {len(rows)} trainings failed"] if failed else []
        problems += [*refusals, *_hints(opened)]
        if problems:
            self._fail(flags, "; ".join(problems))

    def _print_plan(self, specs: list[RunSpec], runner: Runner, *, as_json: bool) -> None:
        active = store.active_runs([spec.subject.id for spec in specs])
        refusals = {spec.subject.id: store.refusal(spec.label, active[spec.subject.id]) for spec in specs if spec.subject.id in active}
        rows = summary.plan_rows(specs, refusals, runner=runner.name)
        if as_json and runner.durable:
            requests = [(spec, runner.render(spec).request) for spec in specs if spec.subject.id not in refusals]
            self.stdout.write(summary.requests_json(rows, requests))
        else:
            self.stdout.write(summary.plan_json(rows) if as_json else summary.plan_table(rows))

    def _fail(self, flags: dict[str, Any], message: str, *, returncode: int = FAILURE, cause: Exception | None = None) -> NoReturn:
        """Django prints the error to stderr; level 0 promised silence, success or not."""
        if flags["verbose"] == 0:
            self.stderr = OutputWrapper(StringIO())
        raise CommandError(message, returncode=returncode) from cause

    def _usage(self) -> str:
        parser = getattr(self, "_parser", None) or self.create_parser("manage.py", "train_models")
        return str(parser.format_usage())


def _triggered_by() -> str:
    return f"train_models {getpass.getuser()}@{socket.gethostname()}"


def _hints(specs: list[RunSpec]) -> list[str]:
    """How to resume those of the runs that were taken away while they worked."""
    runs = store.find_runs([spec.run_id for spec in specs])
    hints = (resume.hint(runs[spec.run_id], runner_named, models_dir=settings.MODELS_DIR) for spec in specs if spec.run_id in runs)
    return [hint for hint in hints if hint]
