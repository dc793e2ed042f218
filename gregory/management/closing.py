"""The last messages of a command with runs: failed trainings, open rows, resume commands, and rows whose result it could not read."""

from collections.abc import Sequence
from itertools import groupby

from django.db import InterfaceError, OperationalError

from gregory.management.database import describe
from gregory.management.runners import reconciler
from gregory.output import counted
from gregory.reporting.summary import Outcome
from gregory.runs import store
from gregory.runs.spec import RunKind, RunSpec
from gregory.training import resume

# Resume commands in one message.
HINTS = 5
WORK = {RunKind.TRAIN: "training", RunKind.PREDICT: "prediction"}


def hints(specs: Sequence[RunSpec]) -> list[str]:
    """The resume commands of runs that can be resumed."""
    runs, ours = store.find_runs([spec.run_id for spec in specs]), reconciler()
    several = len(specs) > 1
    offered = [resume.hint(runs.get(spec.run_id), ours, name=spec.label if several else "it") for spec in specs]
    found = [hint for hint in offered if hint]
    more = [f"{len(found) - HINTS} more in: python manage.py training_runs list"] if len(found) > HINTS else []
    return [*found[:HINTS], *more]


def failures(outcomes: Sequence[Outcome], kind: RunKind, *, continues: bool) -> list[str]:
    """The number of failed trainings or predictions, if there are any. continues: a run without an end may still succeed."""
    results = [outcome.training.success for outcome in outcomes]
    failed = sum(success is False or (success is None and not continues) for success in results)
    return [f"{failed} of {counted(len(results), WORK[kind])} failed"] if failed else []


def left_open(outcomes: Sequence[Outcome]) -> str:
    """Whether every row was closed. Else the open rows, with the remedy."""
    ids = [outcome.training.record.run_log_id for outcome in outcomes if outcome.training.success is None]
    return f"{_named(ids)} still open; run: python manage.py reconcile_runs --once" if ids else "every open row was closed"


def not_known(specs: Sequence[RunSpec], error: OperationalError | InterfaceError) -> str:
    """The rows whose results the database did not return, with the remedy."""
    ids = [algorithm.run_log_id for spec in specs for algorithm in spec.algorithms]
    remedy = "when it answers, run: python manage.py reconcile_runs --once, then training_runs list"
    return f"the results of {_named(ids)} not known: {describe(error)}; {remedy}"


def _named(ids: Sequence[int]) -> str:
    """The ids of rows as ranges, with the verb."""
    ranges = []
    for _, part in groupby(enumerate(sorted(ids)), key=lambda numbered: numbered[1] - numbered[0]):
        run = [pk for _, pk in part]
        ranges.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return f"row {ranges[0]} is" if len(ids) == 1 else f"the {len(ids)} rows {', '.join(ranges)} are"
