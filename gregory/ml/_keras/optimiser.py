"""Adam as it is defined, whatever the layers."""

from typing import Any

from gregory.ml._keras.runtime import keras, tf


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' Adam, given every gradient whole.

    On TensorFlow the gradient of an embedding comes as a list of rows, a row once for every time its word occurs. Keras 3.15 squares
    the rows of that list before it sums them, so the second moment of every repeated word is wrong, and a batch is learned
    otherwise than its micro-batches: docs/decisions/0010-adam-and-embeddings.md.
    """

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """One update."""
        super().apply([tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads], trainable_variables)
