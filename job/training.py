"""A training: corpus -> summarise -> (pseudo-label) -> train and publish each algorithm -> (gate)."""

import shutil
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from django.conf import settings

from gregory.data import corpus
from gregory.ml import storage, stratification
from gregory.ml.config import CardConfig
from gregory.ml.dataset import read_articles, write_articles
from gregory.ml.manifest import Provenance
from gregory.ml.stages import contract
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection, read_only_transaction
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, TrainSpec
from gregory.training import planning
from job.gating import Gate
from job.pipeline import NOTHING_USED, Pipeline, overridden
from job.publishing import Result, defect_of_kept_model, publish_model, publish_pseudo_labels
from job.stage_runner import add_file, read_result
from job.supervise import StageFailed, read_usage


class TrainingPipeline(Pipeline[TrainSpec]):
    """Trains the algorithms of a run on the same texts."""

    doing = "training"
    _summaries: Path
    _pseudo_labels: Path | None = None

    def _possible(self) -> tuple[AlgorithmSpec, ...]:
        """The algorithms whose models can be published."""
        publishable = []
        for algorithm in self._spec.algorithms:
            problem = storage.obstacle(self._models_dir, self._model_folder(algorithm).parent)
            if not problem:
                publishable.append(algorithm)
                continue
            message = f"nothing was trained, because the model could not be published: {problem}"
            self._close_failed(algorithm, Reason.STORAGE, message)
        return tuple(publishable)

    def _prepare(self) -> None:
        self._summaries = self._summarise()
        if self._spec.config.pseudo_label:
            self._pseudo_labels = self._pseudo_label(self._summaries)

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
        whole = self._spec.window.cutoff is None
        stratification.require_possible(relevant, not_relevant, hyperparameters.split, whole=whole)
        request = contract.SummariseRequest(config=hyperparameters.summariser, split=hyperparameters.split, **self._base_request())
        return self._run("summarise", folder, request, algorithms=self._spec.algorithms)

    def _write_corpus(self, path: Path) -> None:
        """Stream the articles of the subject into the input of the first stage. Every attempt uses this one file."""
        spec = self._spec

        def write(unfinished: Path) -> None:
            pool = corpus.unlabelled(spec.subject.id, spec.window.cutoff) if spec.config.pseudo_label else iter(())
            with read_only_transaction():
                write_articles(unfinished, chain(corpus.labelled(spec.subject.id, spec.window.cutoff), pool))

        self._write_input(path, write)

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

    def _work(self, algorithm: AlgorithmSpec) -> Result:
        spec, summaries, pseudo_labels = self._spec, self._summaries, self._pseudo_labels
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
            card=CardConfig(subject_name=self._retry(partial(store.subject_name, spec)), titles=spec.titles),
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
        outcome, details = self._publish(algorithm, out)
        gate = Gate(spec, self._log, self._stages, models_dir=self._models_dir, fence=self._fence)
        return gate.decide(outcome, algorithm, summaries / contract.EXAMPLES), details

    def _publish_kept(self, algorithm: AlgorithmSpec) -> Result:
        """Publish the model of an earlier attempt. Raises StageFailed if it is gone or damaged: the run was ended, so it trains nothing."""
        folder = self._stages.prepare(f"train-{algorithm.algorithm}")
        if defect := defect_of_kept_model(algorithm, folder / "out"):
            message = f"the model of an earlier attempt cannot be published, and this attempt trains nothing: {defect}"
            raise StageFailed(Reason.ARTIFACT, message, message, NOTHING_USED)
        self._stages.usage["train"] = read_usage(folder)
        return self._publish(algorithm, folder / "out")

    def _remove_unless_publishable(self, algorithm: AlgorithmSpec, kept: Path) -> None:
        """Remove a finished training whose model is gone or damaged. A published model had its row closed before the first stage."""
        if kept.exists() and (defect := defect_of_kept_model(algorithm, kept)):
            self._fence.require()
            message = f"the model of an earlier attempt cannot be published, so it is trained again: {defect}"
            self._log.warn(message, algorithm=algorithm.algorithm, stage="train")
            shutil.rmtree(kept)

    def _publish(self, algorithm: AlgorithmSpec, out: Path) -> Result:
        """Give a finished model its name. Row and report say so before: a process that cannot read the models must not fail the row."""
        self._fence.require()
        if cause := best_effort(partial(store.overriding, self._spec, [algorithm]), otherwise=""):
            raise overridden(cause)
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

    def _announce(self, outcome: AlgorithmOutcome) -> None:
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
