"""What a stage is given and what it leaves: file names, requests, results, and how a failure is told. Nothing heavy is imported here."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from gregory.ml import errors
from gregory.ml.artifacts import DataFacts, Provenance, PseudoLabelFacts, PseudoLabelRound
from gregory.ml.config import Algorithm, SummariserConfig, TrainConfig

REQUEST = "request.json"
RESULT = "result.json"
ERROR = "error.json"
ARTICLES = "articles.jsonl"
EXAMPLES = "examples.jsonl"
POOL = "pool.jsonl"
PSEUDO_LABELS = "pseudo_labels.jsonl"
PSEUDO_LABELS_CSV = "pseudo_labels.csv"
MODEL_FOLDER = "model"

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
    """bundle: folder of the base models; bundle_digest: which they are, wherever the folder is."""

    bundle: Path
    bundle_digest: str = ""
    threads: int
    require_gpu: bool = False


class GpuRequest(_Value):
    """In: nothing more. Out: nothing more."""


class GpuResult(_Value):
    """The GPU that was found."""

    name: str


class SummariseRequest(StageRequest):
    """In: articles.jsonl, labelled and not. Out: examples.jsonl, pool.jsonl."""

    config: SummariserConfig


class SummariseResult(_Value):
    """labelled: labelled articles; title_only: those of them without an abstract; pool: unlabelled articles."""

    labelled: int
    title_only: int
    pool: int


class PseudoLabelRequest(StageRequest):
    """In: examples.jsonl, pool.jsonl. Out: pseudo_labels.jsonl, pseudo_labels.csv."""

    config: TrainConfig


class PseudoLabelResult(_Value):
    """pool: unlabelled articles; rounds: what each accepted."""

    pool: int
    rounds: tuple[PseudoLabelRound, ...]


class TrainRequest(StageRequest):
    """In: examples.jsonl, and pseudo_labels.jsonl where there are some. Out: the sealed model folder."""

    algorithm: Algorithm
    config: TrainConfig
    provenance: Provenance
    title_only: int
    pseudo_labels: PseudoLabelFacts | None = None


class TrainResult(_Value):
    """What the ledger keeps of a training."""

    metrics: dict[str, float]
    warnings: tuple[str, ...]
    data: DataFacts
    compute: dict[str, str | int]


class StageError(_Value):
    """error.json of a failed stage."""

    kind: str
    message: str
    traceback: str


# What may differ between two machines, or two attempts, that do the same work.
_OF_THE_MACHINE: dict[str, Any] = {"bundle": True, "threads": True, "require_gpu": True}
_OF_THE_ATTEMPT: dict[str, Any] = {**_OF_THE_MACHINE, "provenance": {"attempt", "image_digest"}}
_OF_THE_RUN: dict[str, Any] = {**_OF_THE_MACHINE, "provenance": True}


def same_result(one: BaseModel, other: BaseModel) -> bool:
    """Whether what was made for one request is what the other asks for."""
    return one.model_dump(exclude=_OF_THE_ATTEMPT) == other.model_dump(exclude=_OF_THE_ATTEMPT)


def same_work(one: BaseModel, other: BaseModel) -> bool:
    """Whether pieces made for one request are of use to the other, whichever row of PredictionRunLog they are for."""
    return one.model_dump(exclude=_OF_THE_RUN) == other.model_dump(exclude=_OF_THE_RUN)


def kind_of(error: BaseException) -> str:
    """The word for an error that rows and supervisors use."""
    return next((kind for cls, kind in KINDS if isinstance(error, cls)), "error")
