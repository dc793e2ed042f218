"""The base class of the commands that open runs, start and follow them: flags -> plan -> rows -> one run per subject.

With --resume: the next attempt of one run.
"""

from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from gregory.launch.errors import LaunchError, UnknownRunner
from gregory.launch.runner import Runner
from gregory.management import attended, closing, concurrent, unstarted
from gregory.management.account import operator
from gregory.management.command import ManagementCommand
from gregory.management.console import Console
from gregory.management.database import again_if_lost, describe, refuse_within_transaction
from gregory.management.runners import reconciler
from gregory.management.termination import Terminated, persist, settle, signal_behind, signals_raise
from gregory.management.text_stream import TextStream
from gregory.ml.errors import ConfigError
from gregory.output import Output
from gregory.reporting import summary
from gregory.reporting.summary import Outcome
from gregory.runs import exit_codes, store
from gregory.runs.exit_codes import FAILURE, USAGE
from gregory.runs.spec import RunKind, RunSpec, new_token
from gregory.runs.store import RunRefused
from gregory.training import flags, request, resume
from gregory.training.flags import RunFlags

Flags = TypeVar("Flags", bound=RunFlags)
Insert = Callable[[RunSpec], RunSpec]
# Opens the rows of one run with the given function. Returns the run.
Open = Callable[[RunSpec, Insert, Console], RunSpec]


class RunCommand(ManagementCommand, Generic[Flags]):
    """Starts runs. Exit code SUCCESS: all succeeded. FAILURE: at least one failed. USAGE. 128 + N: ended by signal N."""

    name: ClassVar[str]
    kind: ClassVar[RunKind]
    flags: type[Flags]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Replace Django's own --version by --version V."""
        self._parser = super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)
        return self._parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        """All flags of the command. `gregory.training` checks them."""
        flags.add_arguments(parser, self.flags)

    def handle(self, *args: Any, **options: Any) -> None:
        """Translate every expected error into one line and an exit code."""
        given = self.flags.from_options(options)
        try:
            refuse_within_transaction(self.name)
            run_id = request.run_to_resume(given)
            if run_id is None:
                self._start(given)
            else:
                self._resume(run_id, given)
        except request.UsageError as error:
            self.stderr.write(self._usage())
            raise CommandError(str(error), returncode=USAGE) from error
        except UnknownRunner as error:
            raise CommandError(f"--runner: {error}", returncode=USAGE) from error
        except Terminated as terminated:
            # It came between the last line of the command and its end.
            self._fail(given, str(terminated), returncode=exit_codes.of_signal(terminated.number))
        except (ConfigError, LaunchError, RunRefused, OSError) as error:
            self._fail(given, str(error), cause=error)
        except (DatabaseError, InterfaceError) as error:
            self._fail(given, describe(error), cause=error)

    def _start(self, given: Flags) -> None:
        """Plan the runs of new work and execute them."""
        raise NotImplementedError

    def _table(self, outcomes: Sequence[Outcome]) -> str:
        """The table at the end."""
        raise NotImplementedError

    def _execute(
        self,
        given: Flags,
        specs: Sequence[RunSpec],
        runner: Runner,
        *,
        notes: Sequence[str],
        open_one: Open,
        ended: Collection[int] = (),
        failures: Sequence[str] = (),
    ) -> None:
        """Open the runs and follow them. notes: lines before the first. ended: subjects whose run ends with its opening.

        failures: more causes of the exit code FAILURE.
        """
        runner.check(specs)
        opened: list[RunSpec] = []
        several = min(runner.max_parallel or 1, len(specs)) > 1
        with self._until_signal(given, opened, runner, several=several) as console:
            for line in notes:
                console.info(line)
            with unstarted.closed_on_error(unstarted.tokens(specs), console) as queued:
                refusals = self._open(specs, opened, runner, console, open_one)
                self._follow(given, [spec for spec in opened if spec.subject.id not in ended], queued, runner, console)
            continues = runner.max_parallel is None and not given.wait
            self._summarise(given, opened, [*refusals, *failures], continues=continues)

    def _resume(self, run_id: str, given: Flags) -> None:
        """Open and execute the next attempt of a run that ended without success."""
        ours = reconciler()
        run = again_if_lost(partial(resume.find, run_id, ours, self.kind))
        if given.runner not in (None, run.runner):
            raise request.UsageError(f"--runner {given.runner}: run {run_id} belongs to the runner {run.runner}; omit --runner")
        runner = ours.runner_for(run.runner)
        runner.check([resume.specified(run)])
        token = new_token()
        opened: list[RunSpec] = []
        with self._until_signal(given, opened, runner) as console:
            with unstarted.closed_on_error({run_id: token}, console) as queued:
                following = partial(resume.next_attempt, run, ours, token=token, now=timezone.now(), verbosity=given.verbose)
                opened.append(persist(partial(following, triggered_by=self._triggered_by())))
                self._continue(given, opened[0], queued, runner, console)
            self._summarise(given, opened, [], continues=runner.max_parallel is None and not given.wait)

    def _continue(self, given: Flags, spec: RunSpec, queued: dict[str, str], runner: Runner, console: Console) -> None:
        if persist(partial(store.is_unfinished, spec)):
            remaining = ", ".join(f"{algorithm.algorithm} {algorithm.version}" for algorithm in spec.algorithms)
            console.info(f"{spec.label}: run {spec.run_id} is resumed, attempt {spec.attempt}: {remaining}")
            self._follow(given, [spec], queued, runner, console)
        else:
            complete = f"every model of run {spec.run_id} is complete"
            console.info(f"{spec.label}: {complete}; the rows are closed as successes and nothing is trained")
            runner.cleanup(spec)

    def _open(self, specs: Sequence[RunSpec], opened: list[RunSpec], runner: Runner, console: Console, open_one: Open) -> list[str]:
        """Create the rows of every subject, and add its run to `opened`. Returns the refusals.

        No run starts before its rows are committed.
        """
        refusals = []
        insert = partial(store.open_run, runner=runner.name, handle=runner.owner_handle(), triggered_by=self._triggered_by())
        for spec in specs:
            try:
                opened.append(persist(partial(open_one, spec, insert, console)))
            except RunRefused as refused:
                # The command prints it at its end, with its exit code.
                refusals.append(str(refused))
        return refusals

    @contextmanager
    def _until_signal(self, given: Flags, opened: list[RunSpec], runner: Runner, *, several: bool = False) -> Iterator[Console]:
        """The console for a block that a signal ends, with the message about its runs and the exit code of the signal."""
        console = Console(self.stdout, self.style, verbosity=self._verbosity(given), several=several)
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
        if runner.max_parallel is not None or all(row.training.success is not None for row in rows):
            return [closing.left_open(rows), *hints]
        return ["the submitted runs continue", concurrent.next_commands(opened), *hints]

    def _follow(self, given: Flags, opened: list[RunSpec], queued: dict[str, str], runner: Runner, console: Console) -> None:
        """queued: the token by run id. A run that its back end may have is removed from it."""
        if runner.max_parallel is not None:
            attended.execute(opened, runner, console, at_once=runner.max_parallel)
            return
        concurrent.submit_all(opened, queued, runner, console)
        if given.wait:
            concurrent.wait(opened, runner, console)
        elif opened:
            console.info(concurrent.next_commands(opened))

    def _summarise(self, given: Flags, opened: list[RunSpec], refusals: list[str], *, continues: bool) -> None:
        try:
            rows, hints = persist(lambda: (summary.outcomes(opened), closing.hints(opened)))
        except (OperationalError, InterfaceError) as error:
            self._fail(given, "; ".join([closing.not_known(opened, error), *refusals]), cause=error)
        self._report(given, rows, continues=continues)
        # A run that continues without this command may still succeed. All others have ended.
        problems = [*closing.failures(rows, self.kind, continues=continues), *refusals, *hints]
        if problems:
            self._fail(given, "; ".join(problems))

    def _report(self, given: Flags, outcomes: Sequence[Outcome], *, continues: bool) -> None:
        """Print the results. continues: some of the runs have not ended."""
        if given.verbose >= 3 and outcomes and not continues:
            self.stdout.write(self._table(outcomes))

    def _verbosity(self, given: Flags) -> int:
        """The verbosity of the lines during the runs."""
        return given.verbose

    def _refusals(self, specs: Sequence[RunSpec]) -> dict[int, str]:
        """The causes why the runs of a plan would not start, by subject id."""
        active = store.active_runs([spec.subject.id for spec in specs], self.kind)
        return {spec.subject.id: store.refusal(spec.label, active[spec.subject.id]) for spec in specs if spec.subject.id in active}

    def _fail(self, given: Flags, message: str, *, returncode: int = FAILURE, cause: BaseException | None = None) -> NoReturn:
        """Raise a CommandError. Django prints it to stderr, but --verbose 0 prints nothing."""
        if given.verbose == 0:
            self.stderr = TextStream(Output(None))
        raise CommandError(message, returncode=returncode) from cause

    def _usage(self) -> str:
        parser = getattr(self, "_parser", None) or self.create_parser("manage.py", self.name)
        return str(parser.format_usage())

    def _triggered_by(self) -> str:
        return f"{self.name} {operator()}"
