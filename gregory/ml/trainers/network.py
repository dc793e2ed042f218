"""The common part of a model that is a Keras network: its history, its device and its probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gregory.ml import _keras
from gregory.ml.trainers.base import Compute


class NetworkModel(ABC):
    """A fitted Keras network. The last of its outputs is the probability of "relevant".

    batch_size: texts of one prediction step. history: losses, penalties included, per epoch. compute: as in `TrainedModel`.
    """

    def __init__(self, network: Any, *, batch_size: int, history: list[dict[str, float]], compute: Compute | None = None) -> None:
        self._network = network
        self._predictor = _keras.Predictor(network)
        self._batch_size = batch_size
        self._history = history
        self._compute = compute or {}

    @property
    def history(self) -> list[dict[str, float]]:
        """Losses, penalties included, per epoch."""
        return self._history

    @property
    def warnings(self) -> tuple[str, ...]:
        """None. The evaluation warns of a network that learned nothing."""
        return ()

    @property
    def compute(self) -> Compute:
        """Device and precision of the fit. Predictions always use float32."""
        return self._compute

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probability of "relevant" for each text: array (n,)."""
        if len(texts) == 0:
            return np.empty(0)
        return self._predictor.predict(self._token_ids(texts), batch_size=self._batch_size)[:, -1]

    @abstractmethod
    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """At least one id for each text."""
