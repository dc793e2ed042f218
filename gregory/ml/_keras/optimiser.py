"""Adam with its published definition for all layers."""

from typing import Any

from gregory.ml._keras.runtime import keras, tf


class Adam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' Adam with dense gradients.

    On TensorFlow the gradient of an embedding is a list with one vector for each occurrence of a word. Keras 3.15 squares these
    vectors before it sums them. So the second moment of every repeated word is wrong, and a batch gives another update than its
    micro-batches: docs/decisions/0010-adam-and-embeddings.md.
    """

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Apply one update."""
        super().apply([tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads], trainable_variables)
