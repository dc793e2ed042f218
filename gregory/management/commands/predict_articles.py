"""manage.py predict_articles: flags -> request -> plan -> rows -> one run per subject. With --resume: the next attempt of one run."""

import json
from collections.abc import Sequence
from functools import partial

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from gregory.data.imports.errors import ImportRefused
from gregory.launch.runner import Runner
from gregory.management import file_prediction
from gregory.management.console import Console
from gregory.management.database import again_if_lost
from gregory.management.run_command import Insert, RunCommand
from gregory.management.runners import runner_named
from gregory.management.termination import persist, signals_raise
from gregory.ml import models_folder
from gregory.ml.errors import ArtifactError, TrainingError
from gregory.ml.manifest import Manifest
from gregory.models import Subject
from gregory.output import counted
from gregory.reporting import predictions, summary
from gregory.reporting.summary import Outcome
from gregory.runs import exit_codes, store
from gregory.runs.spec import PredictSpec, RunKind, RunSpec
from gregory.training import planning, prediction
from gregory.training.flags import PredictFlags
from gregory.training.prediction import FileRequest, PredictionPlan, PredictionRequest


class Command(RunCommand[PredictFlags]):
    """Predicts articles, with the flags of GregoryAI's command of that name."""

    help = "Predict the relevance of a team's articles with its trained models. Writes GregoryAI's table of predictions."
    name = "predict_articles"
    kind = RunKind.PREDICT
    flags = PredictFlags
    # The subjects without an article to predict.
    _idle: Sequence[PredictSpec] = ()

    def _start(self, given: PredictFlags) -> None:
        wanted = prediction.from_flags(given)
        if (files := prediction.files_of(given)) is not None:
            self._predict_file(given, wanted, files)
            return
        runner = runner_named(given.runner or settings.RUNNER)
        models_dir = settings.MODELS_DIR if runner.sees_models and settings.MODELS_DIR.is_dir() else None
        plan = partial(prediction.plan, wanted, models_dir=models_dir, now=timezone.now())
        planned = again_if_lost(partial(plan, require_gpu=settings.REQUIRE_GPU or runner.gives_gpu))
        inactive = again_if_lost(partial(planning.left_out, wanted.team))
        notes = [f"team {slug} is left out: it was deactivated in GregoryAI" for slug in inactive]
        notes += [problem for problem in planned.without if problem not in planned.failures]
        self._idle = planned.idle
        if given.dry_run:
            for line in notes:
                # Standard output may be JSON for a program.
                self.stderr.write(line)
            self._print_plan(planned, runner, as_json=given.output == "json")
            self._fail_if_refused(given, planned)
            return
        notes += [f"{spec.label}: no article to predict; {spec.window.description}" for spec in planned.idle]
        for spec in planned.idle:
            persist(partial(store.record_idle, spec, triggered_by=self._triggered_by()))
        if not planned.specs:
            self._without_runs(given, planned, notes)
            return
        self._execute(given, planned.specs, runner, notes=notes, open_one=_open, failures=planned.failures)

    def _predict_file(self, given: PredictFlags, wanted: PredictionRequest, files: FileRequest) -> None:
        """Predict the articles of a file. No row is written."""
        version, threshold = wanted.config.version, wanted.config.threshold
        try:
            if problem := models_folder.missing(settings.MODELS_DIR):
                raise ArtifactError(problem)
            subject_dir, moved = settings.MODELS_DIR / files.team / files.subject, partial(_is_moved, files)
            with signals_raise():
                models = file_prediction.models_of(subject_dir, wanted.algorithms, version=version, named=wanted.named, moved=moved)
                bundle_dir = settings.BASE_MODELS_DIR
                ranked = file_prediction.predict_file(files.source, files.target, models, bundle_dir=bundle_dir, threshold=threshold)
        except (TrainingError, ImportRefused) as error:
            self._fail(given, str(error), cause=error)
        if given.output == "json":
            facts = {"file": str(files.target), "articles": ranked.articles, "relevant": ranked.relevant}
            self.stdout.write(json.dumps({**facts, "models": {name: model.folder.name for name, model in models.items()}}, indent=2))
        elif given.verbose >= 1:
            names = ", ".join(f"{algorithm} {models[algorithm].folder.name}" for algorithm in models)
            articles = counted(ranked.articles, "article")
            self.stdout.write(f"{articles} to {files.target}, {ranked.relevant} of them relevant; predicted with {names}")

    def _without_runs(self, given: PredictFlags, planned: PredictionPlan, notes: Sequence[str]) -> None:
        console = Console(self.stdout, self.style, verbosity=self._verbosity(given))
        for line in notes:
            console.info(line)
        if given.output == "json" or (given.verbose >= 3 and planned.idle):
            self.stdout.write(self._table([]) if given.output == "table" else self._json([]))
        self._fail_if_refused(given, planned)

    def _fail_if_refused(self, given: PredictFlags, planned: PredictionPlan) -> None:
        if planned.failures:
            self._fail(given, "; ".join(planned.failures), returncode=exit_codes.FAILURE)

    def _verbosity(self, given: PredictFlags) -> int:
        return 0 if given.output == "json" else given.verbose

    def _report(self, given: PredictFlags, outcomes: Sequence[Outcome], *, continues: bool) -> None:
        if given.output == "json":
            self.stdout.write(self._json(outcomes))
        else:
            super()._report(given, outcomes, continues=continues)

    def _table(self, outcomes: Sequence[Outcome]) -> str:
        return summary.as_table(predictions.summary_rows(outcomes, self._idle))

    def _json(self, outcomes: Sequence[Outcome]) -> str:
        return summary.as_json(predictions.summary_rows(outcomes, self._idle))

    def _print_plan(self, planned: PredictionPlan, runner: Runner, *, as_json: bool) -> None:
        specs = [*planned.specs, *planned.idle]
        refusals = self._refusals(specs)
        rows = predictions.plan_rows(specs, planned.waiting, refusals, runner=runner.name)
        if as_json and runner.durable:
            requests = [(spec, runner.render(spec).request) for spec in planned.specs if spec.subject.id not in refusals]
            self.stdout.write(summary.requests_json(rows, requests, name="predictions"))
        else:
            self.stdout.write(summary.as_json(rows) if as_json else summary.as_table(rows))


def _is_moved(files: FileRequest, manifest: Manifest, digest: str) -> bool:
    """Whether the subject trained the model at another place. The database is asked only then, and a missing one confirms nothing."""
    try:
        subject = Subject.objects.filter(team__slug=files.team, subject_slug=files.subject).values_list("pk", flat=True).first()
        return subject is not None and store.is_trained_by(subject, manifest, digest)
    except DatabaseError:
        return False


def _open(spec: RunSpec, insert: Insert, console: Console) -> RunSpec:
    return insert(spec)
