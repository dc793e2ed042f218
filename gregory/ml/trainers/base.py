"""The contract of a trainer. A trainer gets texts and owns its tokenizer or vectoriser.

Metrics, threshold, folder and version belong to the stage `train`.
"""

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
    """The resources and the seed of a trainer.

    encoder_dir: Hugging Face folder of the base encoder (config.json, model.safetensors, tokenizer.json); only BERT reads it.
    threads: from the CPU quota. seed: for all random numbers without a seed of their own in the hyper-parameters.
    require_gpu: fail without a GPU and never train on the CPU.
    """

    encoder_dir: Path
    threads: int
    seed: int
    require_gpu: bool = False


class TrainedModel(Protocol):
    """A model that gives probabilities and can be saved."""

    @property
    def history(self) -> list[dict[str, float]]:
        """One dict per epoch or boosting round, e.g. {"loss": .., "val_loss": ..}."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the fit for an operator. Empty after `load`."""

    @property
    def compute(self) -> Compute:
        """Facts of the fit that differ between machines, e.g. {"device": "CPU", "precision": "float32"}. Empty after `load`."""

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of "relevant" for each text: array (n,) in the order of `texts`, (0,) without texts."""

    def save(self, folder: Path) -> None:
        """Write every file that `load` needs into an existing folder, with the names of the specification."""

    @classmethod
    def load(cls, folder: Path, *, threads: int) -> Self:
        """Load the model from its folder, without hub and bundle. `history` is empty."""


class Trainer(Protocol):
    """Fits one algorithm."""

    model_class: type[TrainedModel]

    def __init__(self, hyperparameters: Hyperparameters, context: TrainerContext) -> None: ...

    def fit(self, split: Split, *, report: Report, checkpoint: Path | None = None) -> TrainedModel:
        """Train on split.train, evaluate on split.validation, and never read split.test.

        A trainer with epochs writes each to the file `checkpoint` and continues from that file.
        Raises NoGpu if a GPU is required and missing, and MemoryExhausted if the library reports it. Any other error is a defect.
        """
