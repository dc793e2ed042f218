"""The steps of a run: corpus -> summarise -> (pseudo-label) -> train and publish each algorithm.

Each step leaves a complete result in the run's folder, or none. The next attempt takes the same steps and skips each finished one.
"""

import shutil
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings
from pydantic import BaseModel

from gregory.data import corpus
from gregory.ml import artifacts, storage, stratification
from gregory.ml.artifacts import Provenance
from gregory.ml.base_models import verify_bundle
from gregory.ml.dataset import read_articles, write_articles
from gregory.ml.files import flush
from gregory.ml.stages import contract
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection, read_only_transaction
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunSpec
from gregory.shutdown import ShutdownRequest
from gregory.training import planning
from job import attempt_folder
from job.database_retry import DatabaseRetry
from job.event_log import EventLogger
from job.fence import SUPERSEDED, Fence, Superseded
from job.outcome_report import OutcomeReport
from job.publishing import defect_of_kept_model, failed_training, publish_model, publish_pseudo_labels
from job.stage_environment import stage_threads
from job.stage_runner import StageRunner, add_file, read_result
from job.supervise import StageFailed, Usage


class Pipeline:
    """Executes one claimed run. The failure of one algorithm does not stop the others. All other failures are raised."""

    def __init__(
        self,
        spec: RunSpec,
        log: EventLogger,
        shutdown: ShutdownRequest,
        report: OutcomeReport,
        *,
        models_dir: Path,
        bundle_dir: Path,
        fence: Fence,
    ) -> None:
        self.stages_dir = artifacts.stages_folder(models_dir, spec.run_id, spec.attempt)
        self._fence = fence
        self._spec = spec
        self._log = log
        self._report = report
        self._retry = DatabaseRetry(shutdown, report)
        self._models_dir = models_dir
        self._bundle_dir = bundle_dir
        self._threads = stage_threads(settings.ENVIRONMENT.OMP_NUM_THREADS)
        self._bundle_digest = ""
        self._stages = StageRunner(spec, log, shutdown, stages_dir=self.stages_dir)

    def run(self) -> None:
        """Execute every step in order."""
        spec = self._spec
        self._log.info(f"Started run {spec.run_id}: {', '.join(a.algorithm for a in spec.algorithms)}; {spec.window.description}")
        spec = self._spec = spec.model_copy(update={"algorithms": self._publishable()})
        if not spec.algorithms:
            return
        self._require_rows(*spec.algorithms)
        attempt_folder.take_over(self._models_dir, spec.run_id, spec.attempt)
        if spec.require_gpu:
            self._find_gpu()
        self._bundle_digest = verify_bundle(self._bundle_dir).digest()
        summaries = self._summarise()
        pseudo_labels = self._pseudo_label(summaries) if spec.config.pseudo_label else None
        for algorithm in spec.algorithms:
            try:
                self._require_rows(algorithm)
                self._retry(partial(store.begin_algorithm, spec, algorithm.run_log_id))
                self._log.info(f"Started training version {algorithm.version}", algorithm=algorithm.algorithm, stage="train")
                outcome, details = self._train(algorithm, summaries, pseudo_labels)
            except StageFailed as failure:
                if failure.reason is Reason.INTERRUPTED:
                    raise
                if self._fence.is_lost():
                    # The later attempt removed the files of this stage.
                    raise Superseded(SUPERSEDED) from failure
                outcome, details = self._failed(algorithm, failure)
            self._close(outcome, details)
            if outcome.success:
                # The checkpoint of a training is several times as large as the model.
                shutil.rmtree(self.stages_dir / f"train-{algorithm.algorithm}", ignore_errors=True)

    def _publishable(self) -> tuple[AlgorithmSpec, ...]:
        """The algorithms whose models can be published. The rows of the others are closed now and not after hours of work."""
        publishable = []
        for algorithm in self._spec.algorithms:
            problem = storage.obstacle(self._models_dir, self._destination(algorithm).parent)
            if not problem:
                publishable.append(algorithm)
                continue
            message = f"nothing was trained, because the model could not be published: {problem}"
            failure = StageFailed(Reason.STORAGE, message, message, Usage(seconds=0.0, peak_bytes=0))
            self._close(*self._failed(algorithm, failure))
        return tuple(publishable)

    def _destination(self, algorithm: AlgorithmSpec) -> Path:
        team, subject = self._spec.team.slug, self._spec.subject.slug
        return artifacts.version_folder(
            self._models_dir, team=team, subject=subject, algorithm=algorithm.algorithm, version=algorithm.version
        )

    def _failed(self, algorithm: AlgorithmSpec, failure: StageFailed) -> tuple[AlgorithmOutcome, store.OutcomeDetails]:
        message = f"Failed version {algorithm.version}: {failure}"
        self._log.info(message, algorithm=algorithm.algorithm, stage="train", tone="bad")
        return failed_training(algorithm, failure, self._stages.resources())

    def _require_rows(self, *algorithms: AlgorithmSpec) -> None:
        """Raises StageFailed if another program ended all of these trainings. So nothing appears for a subject that is gone."""
        if cause := self._retry(partial(store.overriding, self._spec, algorithms)):
            raise _overridden(cause)

    def _run(self, stage: str, folder: Path, request: BaseModel, *, algorithms: tuple[AlgorithmSpec, ...]) -> Path:
        """As `StageRunner.run`. Raises Superseded if a later attempt works in the models folder."""
        self._fence.require()
        return self._stages.run(stage, folder, request, algorithms=algorithms)

    def _find_gpu(self) -> None:
        """Check for a GPU in a process of its own. Every attempt repeats the check, because it may run on another machine."""
        folder = self._stages.prepare("find_gpu")
        shutil.rmtree(folder / "out", ignore_errors=True)
        out = self._run("find_gpu", folder, contract.GpuRequest(), algorithms=self._spec.algorithms)
        self._log.info(f"GPU: {read_result(out, contract.GpuResult).name}", stage="find_gpu")

    def _summarise(self) -> Path:
        folder = self._stages.prepare("summarise")
        articles = folder / "in" / contract.ARTICLES
        if not articles.exists():
            self._write_corpus(articles)
            # A deleted subject has no articles.
            self._require_rows(*self._spec.algorithms)
        labels = [article.label for article in read_articles(articles) if article.label is not None]
        relevant, not_relevant = sum(labels), len(labels) - sum(labels)
        self._log.info(f"{relevant} relevant and {not_relevant} not relevant articles")
        hyperparameters = self._spec.config.hyperparameters
        stratification.require_possible(relevant, not_relevant, hyperparameters.split)
        request = contract.SummariseRequest(config=hyperparameters.summariser, split=hyperparameters.split, **self._base_request())
        return self._run("summarise", folder, request, algorithms=self._spec.algorithms)

    def _write_corpus(self, path: Path) -> None:
        """Stream the articles of the subject into the input of the first stage. Every attempt uses this one file."""
        spec, unfinished = self._spec, path.with_suffix(".partial")

        def write() -> None:
            pool = corpus.unlabelled(spec.subject.id, spec.window.cutoff) if spec.config.pseudo_label else iter(())
            with read_only_transaction():
                write_articles(unfinished, chain(corpus.labelled(spec.subject.id, spec.window.cutoff), pool))

        self._retry(write)
        flush(unfinished)
        unfinished.rename(path)

    def _pseudo_label(self, summaries: Path) -> Path:
        folder = self._stages.prepare("pseudo_label")
        add_file(summaries / contract.EXAMPLES, folder / "in")
        add_file(summaries / contract.POOL, folder / "in")
        request = contract.PseudoLabelRequest(config=self._spec.config, **self._base_request())
        out = self._run("pseudo_label", folder, request, algorithms=self._spec.algorithms)
        self._require_rows(*self._spec.algorithms)
        facts = publish_pseudo_labels(self._spec, out, self._models_dir, self._fence)
        rounds = ", ".join(f"{done.relevant + done.not_relevant} of {done.asked}" for done in facts.rounds) or "no round"
        self._log.info(f"Pseudo-labels accepted per round: {rounds}; {facts.file}", stage="pseudo_label")
        return out

    def _train(
        self, algorithm: AlgorithmSpec, summaries: Path, pseudo_labels: Path | None
    ) -> tuple[AlgorithmOutcome, store.OutcomeDetails]:
        spec = self._spec
        folder = self._stages.prepare(f"train-{algorithm.algorithm}")
        add_file(summaries / contract.EXAMPLES, folder / "in")
        if pseudo_labels is not None:
            add_file(pseudo_labels / contract.PSEUDO_LABELS, folder / "in")
        summarised = read_result(summaries, contract.SummariseResult)
        request = contract.TrainRequest(
            algorithm=algorithm.algorithm,
            config=spec.config,
            title_only=summarised.title_only,
            summariser=summarised.summariser,
            pseudo_labels=publish_pseudo_labels(spec, pseudo_labels, self._models_dir, self._fence) if pseudo_labels else None,
            **self._base_request(),
            provenance=Provenance(
                team=spec.team.slug,
                subject=spec.subject.slug,
                version=algorithm.version,
                run_id=spec.run_id,
                attempt=spec.attempt,
                run_log_id=algorithm.run_log_id,
                cutoff=spec.window.cutoff,
                window=spec.window.description,
                image_digest=settings.IMAGE_DIGEST,
            ),
        )
        self._remove_unless_publishable(algorithm, folder / "out")
        out = self._run("train", folder, request, algorithms=(algorithm,))
        return self._publish(algorithm, out)

    def _remove_unless_publishable(self, algorithm: AlgorithmSpec, kept: Path) -> None:
        """Remove a finished training whose model is gone or damaged. A published model had its row closed before the first stage."""
        if kept.exists() and (defect := defect_of_kept_model(algorithm, kept)):
            self._fence.require()
            message = f"the model of an earlier attempt cannot be published, so it is trained again: {defect}"
            self._log.warn(message, algorithm=algorithm.algorithm, stage="train")
            shutil.rmtree(kept)

    def _publish(self, algorithm: AlgorithmSpec, out: Path) -> tuple[AlgorithmOutcome, store.OutcomeDetails]:
        """Give a finished model its name. Row and report say so before: a process that cannot read the models must not fail the row."""
        self._fence.require()
        if cause := best_effort(partial(store.overriding, self._spec, [algorithm]), otherwise=""):
            raise _overridden(cause)
        self._report.publishing(algorithm)
        self._report.write()
        best_effort(partial(store.begin_publishing, self._spec, algorithm.run_log_id), otherwise=None)
        close_connection()
        return publish_model(
            self._spec,
            algorithm,
            out,
            models_dir=self._models_dir,
            usage=self._stages.usage["train"],
            resources=self._stages.resources(),
            next_version=self._take_next_version,
            fence=self._fence,
        )

    def _take_next_version(self, algorithm: AlgorithmSpec) -> AlgorithmSpec | None:
        spec = self._spec
        folders = planning.taken_versions(
            set(), models_dir=self._models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm
        )
        renamed = self._retry(partial(store.take_next_version, spec, algorithm, folders))
        if renamed is not None:
            message = f"a folder of version {algorithm.version} exists that is not of this row; the model gets version {renamed.version}"
            self._log.warn(message, algorithm=algorithm.algorithm)
        return renamed

    def _close(self, outcome: AlgorithmOutcome, details: store.OutcomeDetails) -> None:
        """Write the outcome into the report and the row."""
        self._report.add(outcome)
        written = self._retry(partial(store.close_algorithm, self._spec, outcome, details))
        self._report.write()
        if not written and outcome.reason is not Reason.OVERRIDDEN:
            message = f"the row of version {outcome.version} already had a result; this outcome is kept as an event"
            self._log.warn(message, algorithm=outcome.algorithm)
        if not written or not outcome.success:
            return
        for warning in outcome.warnings:
            self._log.warn(warning, algorithm=outcome.algorithm)
        metrics = outcome.metrics
        self._log.info(
            f"Finished version {outcome.version} in {outcome.seconds:.0f} s: test ROC AUC {metrics['test_roc_auc']:.3f}, "
            f"f1 {metrics['test_f1']:.3f} at threshold {metrics['prob_threshold']:g}",
            algorithm=outcome.algorithm,
            stage="train",
            tone="good",
        )

    def _base_request(self) -> dict[str, Any]:
        """The fields that all requests of stages with base models have."""
        return {
            "bundle": self._bundle_dir,
            "bundle_digest": self._bundle_digest,
            "threads": self._threads,
            "require_gpu": self._spec.require_gpu,
        }


def _overridden(cause: str) -> StageFailed:
    message = f"{cause}; nothing is published"
    return StageFailed(Reason.OVERRIDDEN, message, message, Usage(seconds=0.0, peak_bytes=0))
