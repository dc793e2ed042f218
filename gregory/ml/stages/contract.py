"""Input and output of the stages: file names, requests, results and errors. This module imports no training library."""

import errno
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from gregory.ml import errors
from gregory.ml.config import Algorithm, CardConfig, SplitConfig, SummariserConfig, TrainConfig
from gregory.ml.manifest import DataFacts, Provenance, PseudoLabelFacts, PseudoLabelRound
from gregory.ml.text import TEXT_VERSION

REQUEST = "request.json"
RESULT = "result.json"
ERROR = "error.json"
ARTICLES = "articles.jsonl"
EXAMPLES = "examples.jsonl"
POOL = "pool.jsonl"
PSEUDO_LABELS = "pseudo_labels.jsonl"
PSEUDO_LABELS_CSV = "pseudo_labels.csv"
TEXTS = "texts.jsonl"
PREDICTIONS = "predictions.jsonl"
MODEL_FOLDER = "model"

# The exit code of a failed stage that could not write its error (EX_IOERR of sysexits.h).
NOT_WRITTEN = 74

# What a supervisor may want to tell apart; the first class that fits wins.
KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (errors.DataError, "bad_data"),
    (errors.ConfigError, "bad_config"),
    (errors.BundleError, "base_models"),
    (errors.ArtifactError, "artifact"),
    (errors.NoGpu, "no_gpu"),
    (errors.MemoryExhausted, "out_of_memory"),
    (MemoryError, "out_of_memory"),
)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageRequest(_Value):
    """bundle: folder of the base models. bundle_digest: their identity, independent of the folder."""

    bundle: Path
    bundle_digest: str = ""
    threads: int
    require_gpu: bool = False


class GpuRequest(_Value):
    """Input and output are only the request and the result."""


class GpuResult(_Value):
    """The GPU of the run."""

    name: str


class SummariseRequest(StageRequest):
    """Input: articles.jsonl, articles with and without a label. Output: examples.jsonl, pool.jsonl.

    text_version: that of the articles. split: the labels must fill these parts. None: there is no training.
    """

    config: SummariserConfig
    text_version: int = TEXT_VERSION
    # Requests of older releases have no split.
    split: SplitConfig | None = SplitConfig()


class SummariseResult(_Value):
    """labelled: labelled articles. title_only: labelled articles without an abstract. pool: unlabelled articles.

    summariser: the facts of the machine that change summaries. Results of older releases have none.
    """

    labelled: int
    title_only: int
    pool: int
    summariser: dict[str, str] = {}


class PseudoLabelRequest(StageRequest):
    """Input: examples.jsonl, pool.jsonl. Output: pseudo_labels.jsonl, pseudo_labels.csv."""

    config: TrainConfig


class PseudoLabelResult(_Value):
    """pool: unlabelled articles. rounds: accepted labels of each round."""

    pool: int
    rounds: tuple[PseudoLabelRound, ...]


class TrainRequest(StageRequest):
    """Input: examples.jsonl, and pseudo_labels.jsonl if the run has pseudo-labels. Output: the complete model folder."""

    algorithm: Algorithm
    config: TrainConfig
    provenance: Provenance
    title_only: int
    summariser: dict[str, str] = {}
    pseudo_labels: PseudoLabelFacts | None = None
    # Requests of older releases have none.
    card: CardConfig = CardConfig()


class TrainResult(_Value):
    """The facts of a training for the run store."""

    metrics: dict[str, float]
    warnings: tuple[str, ...]
    data: DataFacts
    compute: dict[str, str | int]


class ModelFolder(_Value):
    """A version folder. digest: sha256 of its manifest."""

    folder: Path
    digest: str


class CompareRequest(_Value):
    """Input: examples.jsonl, if there are texts. minimum: the least number of articles of each class for a conclusion."""

    first: ModelFolder
    second: ModelFolder
    minimum: int


class ReportRequest(_Value):
    """Output: report.html. subject_dir: the folder of a subject in the models folder."""

    subject_dir: Path


class ReportResult(_Value):
    """compared: the articles with which the models are shown together."""

    compared: int


class PredictRequest(_Value):
    """Input: texts.jsonl. Output: predictions.jsonl. folder: the version folder. digest: sha256 of its manifest."""

    folder: Path
    digest: str


class PredictResult(_Value):
    """predicted: the number of texts."""

    predicted: int


class StageError(_Value):
    """error.json of a failed stage."""

    kind: str
    message: str
    traceback: str


# The fields that can differ between two machines, two attempts or two rows with the same work.
_EXCEPT: dict[str, Any] = {
    "bundle": True,
    "threads": True,
    "require_gpu": True,
    "provenance": True,
    "folder": True,
    "card": {"subject_name": True},
}
# The file system of the models refuses every write. The cause is outside of the run.
_OF_THE_STORAGE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def same_work(one: BaseModel, other: BaseModel) -> bool:
    """True if the result and the completed parts of one request are valid for the other, also for another row of PredictionRunLog."""
    return one.model_dump(exclude=_EXCEPT) == other.model_dump(exclude=_EXCEPT)


def kind_of(error: BaseException) -> str:
    """The word that rows and supervisors use for an error."""
    if isinstance(error, OSError) and error.errno in _OF_THE_STORAGE:
        return "storage"
    return next((kind for cls, kind in KINDS if isinstance(error, cls)), "error")
