"""manage.py train_models: flags -> request -> plan -> rows -> one run per subject. With --resume: the next attempt of one run."""

from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import StringIO
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import CommandError, CommandParser, OutputWrapper
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from gregory.launch.errors import LaunchError, UnknownRunner
from gregory.launch.runner import Runner
from gregory.management import closing, concurrent, sequential, unstarted
from gregory.management.account import operator
from gregory.management.command import ManagementCommand
from gregory.management.console import Console
from gregory.management.database import again_if_lost, describe, refuse_within_transaction
from gregory.management.runners import reconciler, runner_named
from gregory.management.termination import Terminated, persist, settle, signal_behind, signals_raise
from gregory.ml.config import load_hyperparameters
from gregory.ml.errors import ConfigError
from gregory.reporting import summary
from gregory.runs import exit_codes, store
from gregory.runs.exit_codes import FAILURE, USAGE
from gregory.runs.spec import RunSpec, new_token
from gregory.runs.store import RunRefused
from gregory.training import flags, planning, request, resume
from gregory.training.flags import TrainFlags


class Command(ManagementCommand):
    """Starts trainings. Exit code SUCCESS: all succeeded. FAILURE: at least one failed. USAGE. 128 + N: ended by signal N."""

    help = "Train the classifiers of a team's subjects into versioned folders, one PredictionRunLog row per subject and algorithm."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Replace Django's own --version by --version V."""
        self._parser = super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)
        return self._parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        """All flags of TrainFlags. `gregory.training.request` checks them."""
        flags.add_arguments(parser, TrainFlags)

    def handle(self, *args: Any, **options: Any) -> None:
        """Translate every expected error into one line and an exit code."""
        given = TrainFlags.from_options(options)
        try:
            refuse_within_transaction("train_models")
            self._train(given)
        except request.UsageError as error:
            self.stderr.write(self._usage())
            raise CommandError(str(error), returncode=USAGE) from error
        except UnknownRunner as error:
            raise CommandError(f"--runner: {error}", returncode=USAGE) from error
        except Terminated as terminated:
            # It came between the last line of the command and its end.
            self._fail(given, str(terminated), returncode=exit_codes.of_signal(terminated.number))
        except (ConfigError, LaunchError, RunRefused) as error:
            self._fail(given, str(error), cause=error)
        except (DatabaseError, InterfaceError) as error:
            self._fail(given, describe(error), cause=error)

    def _train(self, given: TrainFlags) -> None:
        run_id = request.run_to_resume(given)
        if run_id is not None:
            self._resume(run_id, given)
            return
        wanted = request.from_flags(given, hyperparameters=load_hyperparameters(settings.HYPERPARAMETERS_FILE))
        runner = runner_named(given.runner or settings.RUNNER)
        plan = partial(planning.plan, wanted, models_dir=settings.MODELS_DIR, now=timezone.now())
        specs = again_if_lost(partial(plan, require_gpu=settings.REQUIRE_GPU or runner.gives_gpu))
        unsplittable = again_if_lost(partial(planning.unsplittable, specs))
        inactive = again_if_lost(partial(planning.left_out, wanted))
        left_out = [f"team {slug} is left out: it was deactivated in GregoryAI" for slug in inactive]
        if given.dry_run:
            for line in left_out:
                # Standard output may be JSON for a program.
                self.stderr.write(line)
            self._print_plan(specs, unsplittable, runner, as_json=given.output == "json")
            return
        runner.check(specs)
        opened: list[RunSpec] = []
        with self._until_signal(given, opened, runner) as console:
            for line in left_out:
                console.info(line)
            with unstarted.closed_on_error(unstarted.tokens(specs), console) as queued:
                refusals = self._open(specs, unsplittable, opened, runner, console)
                self._follow(given, [spec for spec in opened if spec.subject.id not in unsplittable], queued, runner, console)
            self._summarise(given, opened, refusals, continues=runner.max_parallel != 1 and not given.wait)

    def _resume(self, run_id: str, given: TrainFlags) -> None:
        """Open and execute the next attempt of a run that ended without success."""
        ours = reconciler()
        run = again_if_lost(partial(resume.find, run_id, ours))
        if given.runner not in (None, run.runner):
            raise request.UsageError(f"--runner {given.runner}: run {run_id} belongs to the runner {run.runner}; omit --runner")
        runner = ours.runner_for(run.runner)
        runner.check([resume.specified(run)])
        token = new_token()
        opened: list[RunSpec] = []
        with self._until_signal(given, opened, runner) as console:
            with unstarted.closed_on_error({run_id: token}, console) as queued:
                following = partial(resume.next_attempt, run, ours, token=token, now=timezone.now(), verbosity=given.verbose)
                opened.append(persist(partial(following, triggered_by=_triggered_by())))
                self._continue(given, opened[0], queued, runner, console)
            self._summarise(given, opened, [], continues=runner.max_parallel != 1 and not given.wait)

    def _continue(self, given: TrainFlags, spec: RunSpec, queued: dict[str, str], runner: Runner, console: Console) -> None:
        if persist(partial(store.is_unfinished, spec)):
            remaining = ", ".join(f"{algorithm.algorithm} {algorithm.version}" for algorithm in spec.algorithms)
            console.info(f"{spec.label}: run {spec.run_id} is resumed, attempt {spec.attempt}: {remaining}")
            self._follow(given, [spec], queued, runner, console)
        else:
            complete = f"every model of run {spec.run_id} is complete"
            console.info(f"{spec.label}: {complete}; the rows are closed as successes and nothing is trained")
            runner.cleanup(spec)

    def _open(
        self, specs: list[RunSpec], unsplittable: Mapping[int, Exception], opened: list[RunSpec], runner: Runner, console: Console
    ) -> list[str]:
        """Create the rows of every subject, and add its run to `opened`. Returns the refusals.

        No run starts before its rows are committed. A run whose labels cannot be split fails at once.
        """
        refusals = []
        insert = partial(store.open_run, runner=runner.name, handle=runner.owner_handle(), triggered_by=_triggered_by())
        for spec in specs:
            error = unsplittable.get(spec.subject.id)
            try:
                opened.append(persist(partial(insert, spec) if error is None else partial(unstarted.open_failed, spec, error, insert)))
                if error is not None:
                    console.error(f"{spec.label}: nothing is trained: {error}")
            except RunRefused as refused:
                # The command prints it at its end, with its exit code.
                refusals.append(str(refused))
        return refusals

    @contextmanager
    def _until_signal(self, given: TrainFlags, opened: list[RunSpec], runner: Runner) -> Iterator[Console]:
        """The console for a block that a signal ends, with the message about its runs and the exit code of the signal."""
        console = Console(self.stdout, self.style, verbosity=given.verbose)
        with signals_raise():
            try:
                yield console
            except BaseException as error:
                terminated = signal_behind(error)
                if terminated is None:
                    raise
                message = "; ".join([str(terminated), *self._after_signal(terminated, opened, runner)])
                self._fail(given, message, returncode=exit_codes.of_signal(terminated.number), cause=error)
            finally:
                console.close()

    def _after_signal(self, terminated: Terminated, opened: list[RunSpec], runner: Runner) -> list[str]:
        """The state of the runs after the command has closed all that it could."""
        found = settle(lambda: (summary.outcomes(opened), closing.hints(opened)), cause=terminated)
        if isinstance(found, Exception):
            return [closing.not_known(opened, found)] if opened else [describe(found)]
        rows, hints = found
        if runner.max_parallel == 1 or all(row.training.success is not None for row in rows):
            return [closing.left_open(rows), *hints]
        return ["the submitted runs continue", concurrent.next_commands(opened), *hints]

    def _follow(self, given: TrainFlags, opened: list[RunSpec], queued: dict[str, str], runner: Runner, console: Console) -> None:
        """queued: the token by run id. A run that its back end may have is removed from it."""
        if runner.max_parallel == 1:
            sequential.execute(opened, runner, console)
            return
        concurrent.submit_all(opened, queued, runner, console)
        if given.wait:
            concurrent.wait(opened, runner, console)
        elif opened:
            console.info(concurrent.next_commands(opened))

    def _summarise(self, given: TrainFlags, opened: list[RunSpec], refusals: list[str], *, continues: bool) -> None:
        try:
            rows, hints = persist(lambda: (summary.outcomes(opened), closing.hints(opened)))
        except (OperationalError, InterfaceError) as error:
            self._fail(given, "; ".join([closing.not_known(opened, error), *refusals]), cause=error)
        if given.verbose >= 3 and rows and not continues:
            if any(outcome.training.success for outcome in rows):
                self.stdout.write(f"Model cards: {settings.MODELS_DIR}/<team>/<subject>/<algorithm>/<version>/report.html")
            self.stdout.write(summary.summary_table(rows))
        # A run that continues without this command may still succeed. All others have ended.
        problems = [*closing.failures(rows, continues=continues), *refusals, *hints]
        if problems:
            self._fail(given, "; ".join(problems))

    def _print_plan(self, specs: list[RunSpec], unsplittable: Mapping[int, Exception], runner: Runner, *, as_json: bool) -> None:
        active = store.active_runs([spec.subject.id for spec in specs])
        refusals = {subject: str(error) for subject, error in unsplittable.items()}
        refusals |= {spec.subject.id: store.refusal(spec.label, active[spec.subject.id]) for spec in specs if spec.subject.id in active}
        rows = summary.plan_rows(specs, refusals, runner=runner.name)
        if as_json and runner.durable:
            requests = [(spec, runner.render(spec).request) for spec in specs if spec.subject.id not in refusals]
            self.stdout.write(summary.requests_json(rows, requests))
        else:
            self.stdout.write(summary.plan_json(rows) if as_json else summary.plan_table(rows))

    def _fail(self, given: TrainFlags, message: str, *, returncode: int = FAILURE, cause: BaseException | None = None) -> NoReturn:
        """Raise a CommandError. Django prints it to stderr, but --verbose 0 prints nothing."""
        if given.verbose == 0:
            self.stderr = OutputWrapper(StringIO())
        raise CommandError(message, returncode=returncode) from cause

    def _usage(self) -> str:
        parser = getattr(self, "_parser", None) or self.create_parser("manage.py", "train_models")
        return str(parser.format_usage())


def _triggered_by() -> str:
    return f"train_models {operator()}"
