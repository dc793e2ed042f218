"""The classifier lgbm_tfidf: LightGBM on TF-IDF. It reports the validation loss and does not stop early.

`lgbm_data` writes and reads the model, `lgbm_pickles` writes it for other programs.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from gregory.ml.resources import WAIT_POLICY

# For programs that load a model. A stage gets it from its supervisor.
os.environ.setdefault(*WAIT_POLICY)

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from gregory.ml.config import Hyperparameters, LgbmConfig
from gregory.ml.errors import ArtifactError, DataError, MemoryExhausted
from gregory.ml.progress import Progress, Report
from gregory.ml.split import Split
from gregory.ml.trainers import lgbm_data, lgbm_pickles
from gregory.ml.trainers.base import Compute, TrainerContext

_REPORT_EVERY = 10
_LOSS = "binary_logloss"
_REMEDY = "give the run more memory, or shorten the data window"


# One thread boosts this many rows for a hundred rounds in about ten seconds. For fewer rows, more threads gain seconds at most, and lose
# them on busy processors: docs/decisions/0022-threads.md.
_ROWS_PER_THREAD = 5_000


class LgbmModel:
    """A fitted vectoriser and booster.

    classifier: the scikit-learn object of the fit, for the pickles. None after `load`.
    """

    def __init__(
        self,
        vectoriser: Any,
        booster: lightgbm.Booster,
        *,
        threads: int,
        history: Sequence[dict[str, float]] = (),
        warnings: tuple[str, ...] = (),
        classifier: Any = None,
    ) -> None:
        self._vectoriser = vectoriser
        self._booster = booster
        self._threads = threads
        self._history = list(history)
        self._classifier = classifier
        self._warnings = warnings

    @property
    def history(self) -> list[dict[str, float]]:
        """Log-loss of the training part and the validation part per boosting round."""
        return self._history

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning if no tree has a split."""
        return self._warnings

    @property
    def compute(self) -> Compute:
        """Always the CPU, where the boosting of a few thousand texts takes seconds."""
        return {"device": "CPU"}

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of "relevant" for each text: array (n,)."""
        if len(texts) == 0:
            return np.empty(0)
        threads = _useful_threads(self._threads, rows=len(texts))
        return np.asarray(self._booster.predict(self._vectoriser.transform(texts), num_threads=threads), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write the data files. A model of this process also gets the pickles of the specification, for other programs."""
        lgbm_data.write(folder, vectoriser=self._vectoriser, booster=self._booster)
        if self._classifier is not None:
            lgbm_pickles.write(folder, vectoriser=self._vectoriser, classifier=self._classifier)

    @classmethod
    def load(cls, folder: Path, *, threads: int) -> Self:
        """Read the data files, and no pickle. Raises ArtifactError for a folder without data files."""
        if not lgbm_data.are_in(folder):
            raise ArtifactError(
                f"{folder}: an older release saved this model as pickles only, and a pickle can execute any code: "
                "train the subject again, or, if you trust the folder, load it with load_model(folder, allow_pickle=True)"
            )
        vectoriser, booster = lgbm_data.read(folder)
        return cls(vectoriser, booster, threads=threads)


class LgbmTrainer:
    """Fits TF-IDF on the training part and runs a fixed number of boosting rounds."""

    model_class = LgbmModel

    def __init__(self, hyperparameters: Hyperparameters, context: TrainerContext) -> None:
        self._config = hyperparameters.lgbm
        self._threads = context.threads

    def fit(self, split: Split, *, report: Report, checkpoint: Path | None = None) -> LgbmModel:
        """Train on split.train and record the log-loss on split.validation. It takes seconds, so it writes no checkpoint.

        Raises DataError if the texts contain no word.
        """
        vectoriser = TfidfVectorizer()
        try:
            train = vectoriser.fit_transform(split.train.texts)
        except ValueError as error:
            raise DataError(f"no word in the {len(split.train.texts)} training texts ({error}); check titles and abstracts") from error
        validation = vectoriser.transform(split.validation.texts)
        classifier = _classifier(self._config, _useful_threads(self._threads, rows=train.shape[0]))
        losses: dict[str, dict[str, list[float]]] = {}
        try:
            classifier.fit(
                train,
                split.train.labels,
                eval_X=(train, validation),
                eval_y=(split.train.labels, split.validation.labels),
                eval_names=["train", "validation"],
                eval_metric=_LOSS,
                callbacks=[lightgbm.record_evaluation(losses), _reporting(self._config.rounds, report)],
            )
        except MemoryError as error:
            raise MemoryExhausted(f"LightGBM ran out of memory; {_REMEDY}") from error
        except lightgbm.basic.LightGBMError as error:
            if "alloc" not in str(error):
                raise
            raise MemoryExhausted(f"LightGBM ran out of memory ({error}); {_REMEDY}") from error
        pairs = zip(losses["train"][_LOSS], losses["validation"][_LOSS], strict=True)
        history = [{"loss": loss, "val_loss": val_loss} for loss, val_loss in pairs]
        return LgbmModel(
            vectoriser,
            classifier.booster_,
            threads=self._threads,
            history=history,
            warnings=tuple(_warnings(classifier, self._config, rows=train.shape[0])),
            classifier=classifier,
        )


def _useful_threads(available: int, *, rows: int) -> int:
    return max(1, min(available, rows // _ROWS_PER_THREAD))


def _warnings(classifier: Any, config: LgbmConfig, *, rows: int) -> Iterator[str]:
    if not classifier.booster_.feature_importance("split").any():
        yield (
            f"no tree of LightGBM has a split, so the model gives the same probability to every text: each side of a split needs "
            f"lgbm.min_child_samples = {config.min_child_samples} of the {rows} training texts; label more articles, or lower that value"
        )


def _classifier(config: LgbmConfig, threads: int) -> Any:
    return lightgbm.LGBMClassifier(
        n_estimators=config.rounds,
        colsample_bytree=config.colsample_bytree,
        learning_rate=config.learning_rate,
        max_depth=config.max_depth,
        min_child_samples=config.min_child_samples,
        num_leaves=config.num_leaves,
        reg_alpha=config.reg_alpha,
        reg_lambda=config.reg_lambda,
        subsample=config.subsample,
        random_state=config.random_state,
        n_jobs=threads,
        deterministic=True,
        # Without it LightGBM measures both layouts and takes the faster one. So another machine can give another rounding.
        force_col_wise=True,
        verbosity=-1,
    )


def _reporting(rounds: int, report: Report) -> Callable[[lightgbm.callback.CallbackEnv], None]:
    def after_round(env: lightgbm.callback.CallbackEnv) -> None:
        done = env.iteration + 1
        if done % _REPORT_EVERY and done != rounds:
            return
        values = {part: value for part, _, value, *_ in env.evaluation_result_list or ()}
        figures = {"loss": float(values["train"]), "val_loss": float(values["validation"])}
        message = f"round {done}/{rounds} loss {figures['loss']:.4f} val_loss {figures['val_loss']:.4f}"
        report(Progress(message=message, fraction=done / rounds, epoch=done, figures=figures))

    return after_round
