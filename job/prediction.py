"""A prediction: choose the models -> corpus -> summarise -> for each algorithm predict, and write its predictions to the database.

The texts are made as in the training of the model, by the same stage. The summaries are made once for all algorithms.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gregory.data import predictions
from gregory.data.batches import batches
from gregory.ml import artifacts, storage
from gregory.ml.config import Algorithm
from gregory.ml.dataset import UnlabelledText, read_articles, read_predictions, read_unlabelled, write_articles, write_texts
from gregory.ml.errors import ArtifactError, BundleError, ConfigError
from gregory.ml.promotion import chosen_version
from gregory.ml.stages import contract
from gregory.ml.stages.contract import kind_of
from gregory.ml.usable_models import Texts, UsableModel, by_texts, open_version, require_base_models
from gregory.output import counted
from gregory.preflight.predictions import PREDICTOR_SCRIPT, missing_for_predictions
from gregory.runs import store
from gregory.runs.db_retry import read_only_transaction
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, PredictSpec
from job.fence import SUPERSEDED, Superseded
from job.pipeline import NOTHING_USED, Pipeline
from job.publishing import Result
from job.supervise import StageFailed


class PredictionPipeline(Pipeline[PredictSpec]):
    """Predicts the articles of a subject with the models of a run."""

    doing = "prediction with"

    def _possible(self) -> tuple[AlgorithmSpec, ...]:
        """The algorithms that have a model."""
        self._models: dict[Algorithm, UsableModel] = {}
        self._texts: dict[Algorithm, Path] = {}
        # A container can write into the working folder only.
        if problem := storage.unwritable(self._models_dir, self._spec.folder(self._models_dir).path):
            for algorithm in self._spec.algorithms:
                self._close_failed(algorithm, Reason.STORAGE, problem)
            return ()
        lacking = self._retry(partial(missing_for_predictions, recomputes=self._spec.config.recompute))
        if lacking:
            grants = " ".join(lacking)
            message = f"the role of the run may not write predictions; run {PREDICTOR_SCRIPT}, or as the owner of the tables: {grants}"
            for algorithm in self._spec.algorithms:
                self._close_failed(algorithm, Reason.ERROR, message)
            return ()
        possible = []
        for algorithm in self._spec.algorithms:
            try:
                possible.append(self._choose(algorithm))
            except (ArtifactError, ConfigError, OSError) as error:
                self._close_failed(algorithm, Reason(kind_of(error)), str(error))
        return tuple(possible)

    def _choose(self, algorithm: AlgorithmSpec) -> AlgorithmSpec:
        """Open the model of the specification, or of the promoted or newest version. Raises ArtifactError, ConfigError and OSError."""
        folder, digest = self._model_folder(algorithm), self._spec.digests.get(algorithm.algorithm, "")
        if not digest:
            # The submitter has no models volume. A later attempt keeps the version of the first.
            named = self._spec.config.version or (algorithm.version if self._spec.attempt > 1 else None)
            subject_dir = folder.parents[1]
            version = chosen_version(subject_dir, algorithm.algorithm, named=named)
            if version is None:
                raise ArtifactError(f"{subject_dir / algorithm.algorithm}: {f'no version {named}' if named else 'no version yet'}")
            folder = version.folder
            self._retry(partial(artifacts.require_own, folder, moved=partial(store.is_trained_by, self._spec.subject.id)))
            digest = self._retry(partial(store.recorded_digest, folder.relative_to(self._models_dir).as_posix()))
            digest = digest or artifacts.digest(folder)
            algorithm = self._retry(partial(store.use_version, self._spec, algorithm, version.name))
        model = open_version(folder, digest)
        # A threshold that the model does not have is an error before hours of work.
        model.threshold(self._spec.config.threshold)
        self._models[algorithm.algorithm] = model
        return algorithm

    def _prepare(self) -> None:
        self._keep(tuple(algorithm for algorithm in self._spec.algorithms if self._has_its_base_models(algorithm)))
        pairs = ((algorithm, self._models[algorithm.algorithm]) for algorithm in self._spec.algorithms)
        for number, (wanted, algorithms) in enumerate(by_texts(pairs).items(), start=1):
            texts = self._summarise("summarise" if number == 1 else f"summarise-{number}", wanted, tuple(algorithms))
            self._texts |= {algorithm.algorithm: texts for algorithm in algorithms}

    def _has_its_base_models(self, algorithm: AlgorithmSpec) -> bool:
        """Whether the base models are those of the training. If not, the row is closed."""
        try:
            require_base_models(self._models[algorithm.algorithm], self._bundle_dir, self._bundle_digest)
        except BundleError as error:
            self._close_failed(algorithm, Reason(kind_of(error)), str(error))
            return False
        return True

    def _summarise(self, name: str, wanted: Texts, algorithms: tuple[AlgorithmSpec, ...]) -> Path:
        """The file of the texts of all articles without a prediction."""
        folder = self._stages.prepare(name)
        articles = folder / "in" / contract.ARTICLES
        if not articles.exists():
            self._write_corpus(articles, algorithms, wanted.version)
            # A deleted subject has no articles.
            self._require_rows(*algorithms)
        count = sum(1 for _ in read_articles(articles, version=wanted.version))
        self._log.info(f"{counted(count, 'article')} to predict")
        request = contract.SummariseRequest(
            config=wanted.summariser,
            text_version=wanted.version,
            split=None,
            bundle=self._bundle_dir,
            bundle_digest=self._bundle_digest,
            threads=self._threads,
            require_gpu=self._spec.require_gpu,
        )
        return self._run("summarise", folder, request, algorithms=algorithms) / contract.POOL

    def _write_corpus(self, path: Path, algorithms: tuple[AlgorithmSpec, ...], text_version: int) -> None:
        spec = self._spec
        versions = {algorithm.algorithm: algorithm.version for algorithm in algorithms}
        skips = spec.config.skip_without_summary

        def write(unfinished: Path) -> None:
            with read_only_transaction():
                articles = predictions.waiting(
                    spec.subject.id, spec.window, versions, skip_without_summary=skips, text_version=text_version
                )
                write_articles(unfinished, articles, version=text_version)

        self._write_input(path, write)

    def _work(self, algorithm: AlgorithmSpec) -> Result:
        model = self._models[algorithm.algorithm]
        threshold = model.threshold(self._spec.config.threshold)
        folder = self._stages.prepare(f"predict-{algorithm.algorithm}")
        texts = folder / "in" / contract.TEXTS
        if not texts.exists():
            self._write_texts(texts, algorithm)
        counts = {"predicted": 0, "new": 0, "relevant": 0, "gone": 0}
        if any(True for _ in read_unlabelled(texts)):
            request = contract.PredictRequest(folder=model.folder, digest=model.digest)
            out = self._run("predict", folder, request, algorithms=(algorithm,))
            counts = self._write_predictions(algorithm, threshold, out / contract.PREDICTIONS)
        usage = self._stages.usage.get("predict", NOTHING_USED)
        gone = counts["gone"]
        outcome = AlgorithmOutcome(
            **dict(algorithm),
            success=True,
            metrics={**counts, "prob_threshold": threshold},
            warnings=(f"{counted(gone, 'article')} got no prediction: deleted during the run",) if gone else (),
            artifact=model.folder.relative_to(self._models_dir).as_posix(),
            digest=model.digest,
            seconds=usage.seconds,
            peak_bytes=usage.peak_bytes,
        )
        return outcome, store.OutcomeDetails(resources=self._stages.resources(), data={"window": self._spec.window.description})

    def _write_texts(self, path: Path, algorithm: AlgorithmSpec) -> None:
        """The texts of the articles without a prediction of this model. Another model of the run may lack more of them."""
        subject = self._spec.subject.id

        def write(unfinished: Path) -> None:
            done = predictions.predicted_ids(subject, algorithm.algorithm, algorithm.version)
            write_texts(unfinished, (text for text in self._texts_of(algorithm) if text.article_id not in done))

        self._write_input(path, write)

    def _texts_of(self, algorithm: AlgorithmSpec) -> Iterator[UnlabelledText]:
        return read_unlabelled(self._texts[algorithm.algorithm])

    def _write_predictions(self, algorithm: AlgorithmSpec, threshold: float, path: Path) -> dict[str, int]:
        """Write all predictions in batches. Each is complete or absent, and a repeated one changes nothing."""
        counts = {"predicted": 0, "new": 0, "relevant": 0, "gone": 0}
        for batch in batches(read_predictions(path), predictions.BATCH):
            if self._shutdown.requested:
                message = f"{self._shutdown.reason} after {counts['predicted']} written predictions"
                raise StageFailed(Reason.INTERRUPTED, message, message, NOTHING_USED, where=message)
            written = self._retry(partial(predictions.write, self._spec, algorithm, batch, threshold=threshold))
            if written is None:
                raise Superseded(SUPERSEDED)
            relevant = sum(prediction.probability >= threshold for prediction in batch)
            for name, value in {"predicted": len(batch), "new": written.new, "relevant": relevant, "gone": written.gone}.items():
                counts[name] += value
        return counts

    def _announce(self, outcome: AlgorithmOutcome) -> None:
        metrics = outcome.metrics
        self._log.info(
            f"Finished prediction with version {outcome.version}: {counted(int(metrics['predicted']), 'article')}, "
            f"{metrics['relevant']:.0f} relevant at threshold {metrics['prob_threshold']:g}, {metrics['new']:.0f} new predictions",
            algorithm=outcome.algorithm,
            stage=self._spec.work,
            tone="good",
        )
