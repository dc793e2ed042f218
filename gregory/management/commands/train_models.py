"""manage.py train_models: flags -> request -> plan -> rows -> one run per subject. With --resume: the next attempt of one run."""

from collections.abc import Mapping, Sequence
from functools import partial

from django.conf import settings
from django.utils import timezone

from gregory.launch.runner import Runner
from gregory.management import unstarted
from gregory.management.console import Console
from gregory.management.database import again_if_lost
from gregory.management.run_command import Insert, RunCommand
from gregory.management.runners import runner_named
from gregory.ml.config import load_hyperparameters
from gregory.ml.stratification import Prospect
from gregory.output import one_line
from gregory.reporting import summary
from gregory.reporting.summary import Outcome
from gregory.runs.spec import RunKind, RunSpec, TrainSpec
from gregory.training import planning, request
from gregory.training.flags import TrainFlags


class Command(RunCommand[TrainFlags]):
    """Starts trainings."""

    help = "Train the classifiers of a team's subjects into versioned folders, one PredictionRunLog row per subject and algorithm."
    name = "train_models"
    kind = RunKind.TRAIN
    flags = TrainFlags

    def _start(self, given: TrainFlags) -> None:
        wanted = request.from_flags(
            given,
            hyperparameters=load_hyperparameters(settings.HYPERPARAMETERS_FILE),
            promote_margin=settings.PROMOTE_MARGIN,
            promote_minimum=settings.PROMOTE_MINIMUM,
        )
        runner = runner_named(given.runner or settings.RUNNER)
        plan = partial(planning.plan, wanted, models_dir=settings.MODELS_DIR, now=timezone.now())
        specs = again_if_lost(partial(plan, require_gpu=settings.REQUIRE_GPU or runner.gives_gpu))
        prospects = again_if_lost(partial(planning.prospects, specs))
        unsplittable = {subject: one.error for subject, one in prospects.items() if one.error is not None}
        inactive = again_if_lost(partial(planning.left_out, wanted.team))
        left_out = [f"team {one_line(slug)} is left out: it was deactivated in GregoryAI" for slug in inactive]
        if given.dry_run:
            for line in left_out:
                # Standard output may be JSON for a program.
                self.stderr.write(line)
            self._print_plan(specs, prospects, runner, as_json=given.output == "json")
            return

        def open_one(spec: RunSpec, insert: Insert, console: Console) -> RunSpec:
            """A run whose labels cannot be split fails at once."""
            error = unsplittable.get(spec.subject.id)
            if error is None:
                return insert(spec)
            failed = unstarted.open_failed(spec, error, insert)
            console.error(f"{spec.label}: nothing is trained: {error}")
            return failed

        self._execute(given, specs, runner, notes=left_out, open_one=open_one, ended=unsplittable)

    def _table(self, outcomes: Sequence[Outcome]) -> str:
        cards = f"Model cards: {settings.MODELS_DIR}/<team>/<subject>/<algorithm>/<version>/report.html\n"
        return (cards if any(outcome.training.success for outcome in outcomes) else "") + summary.summary_table(outcomes)

    def _print_plan(self, specs: list[TrainSpec], prospects: Mapping[int, Prospect], runner: Runner, *, as_json: bool) -> None:
        refusals = {subject: str(one.error) for subject, one in prospects.items() if one.error is not None} | self._refusals(specs)
        rows = summary.plan_rows(specs, prospects, refusals, runner=runner.name)
        if as_json and runner.durable:
            requests = [(spec, runner.render(spec).request) for spec in specs if spec.subject.id not in refusals]
            self.stdout.write(summary.requests_json(rows, requests))
        else:
            self.stdout.write(summary.as_json(rows) if as_json else summary.plan_table(rows))
