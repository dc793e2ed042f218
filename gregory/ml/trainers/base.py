"""The contract of a trainer. A trainer gets texts and owns its tokenizer or vectoriser; metrics, threshold, folder and
version are never its business."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from gregory.ml.config import Hyperparameters
from gregory.ml.progress import Report
from gregory.ml.split import Split

Compute = dict[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerContext:
    """What a trainer may use of the machine.

    encoder_dir: Hugging Face folder of the base encoder (config.json, model.safetensors, tokenizer.json); only BERT reads it.
    threads: from the CPU quota; seed: for everything random that has no seed of its own in the hyper-parameters.
    require_gpu: fail where there is none, instead of training on the CPU.
    """

    encoder_dir: Path
    threads: int
    seed: int
    require_gpu: bool = False


class TrainedModel(Protocol):
    """A model that can be asked and kept."""

    @property
    def history(self) -> list[dict[str, float]]:
        """One dict per epoch or boosting round, e.g. {"loss": .., "val_loss": ..}."""

    @property
    def compute(self) -> Compute:
        """How it was computed, e.g. {"device": "CPU", "precision": "float32"}: what may differ between machines. Empty after `load`."""

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of "relevant" for each text: array (n,), in the order given; (0,) for no text."""

    def save(self, folder: Path) -> None:
        """Write every file that `load` needs into an existing folder, under the spec's names."""

    @classmethod
    def load(cls, folder: Path, *, threads: int) -> Self:
        """The model from its folder alone: no hub, no bundle. `history` is empty."""


class Trainer(Protocol):
    """Fits one algorithm."""

    model_class: type[TrainedModel]

    def __init__(self, hyperparameters: Hyperparameters, context: TrainerContext) -> None: ...

    def fit(self, split: Split, *, report: Report, checkpoint: Path | None = None) -> TrainedModel:
        """Train on split.train, watch split.validation, never touch split.test.

        A trainer that works in epochs keeps each in the file `checkpoint` and continues from it.
        Raises NoGpu where there must be one, MemoryExhausted where the library says so; anything else is a defect and passes through.
        """
