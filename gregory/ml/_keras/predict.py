"""Probabilities of a network for many texts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gregory.ml._keras.batching import IDS, TokenIds, pad
from gregory.ml._keras.runtime import tf, translated_memory_errors


class Predictor:
    """Runs a network on many texts at once."""

    def __init__(self, model: Any) -> None:
        # Keras' own predict traces the network again for every new pair of batch size and length.
        self._call = tf.function(lambda token_ids: model(token_ids, training=False), input_signature=[IDS], jit_compile=False)

    def predict(self, token_ids: TokenIds, *, batch_size: int) -> NDArray[np.float64]:
        """Outputs of the network: array (n, outputs) in the order of `token_ids`. Raises MemoryExhausted if TensorFlow cannot allocate."""
        # Sorted by content, a text has the same neighbours, and so the same rounding, for every order of the input.
        order = sorted(range(len(token_ids)), key=lambda position: (len(token_ids[position]), token_ids[position]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        with translated_memory_errors():
            outputs = [self._call(pad([token_ids[position] for position in batch])).numpy() for batch in batches]
        restored = np.empty((len(order), outputs[0].shape[1]), dtype=np.float64)
        restored[order] = np.concatenate(outputs)
        return restored
