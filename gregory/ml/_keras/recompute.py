"""Functions whose values are computed again for the backward pass, instead of kept in memory since the forward pass.

The values, the gradients and the random numbers are those of Keras.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tensorflow.python.framework.ops import gradient_registry

from gregory.ml._keras.runtime import keras, tf

Function = Callable[..., Any]


def recomputed(function: Function) -> Function:
    """The same function of tensors. Until its gradient is computed, only its inputs and its output stay in memory."""

    def call(*inputs: Any) -> tuple[Any, Function]:
        def gradient(upstream: Any) -> Any:
            # Without this order TensorFlow takes the values of the same operations in the forward pass, and keeps them.
            with tf.control_dependencies([upstream]), tf.GradientTape() as tape:
                tape.watch(inputs)
                output = function(*inputs)
                return tape.gradient(output, inputs, output_gradients=upstream)

        return function(*inputs), gradient

    wrapped: Function = tf.custom_gradient(call)
    return wrapped


@contextmanager
def forgotten_gradients() -> Iterator[None]:
    """Forget the gradients of the graphs that this block makes. They must not be used after it.

    TensorFlow keeps the functions of `tf.custom_gradient` until the process ends, and with them graph and weights.
    """
    registered = gradient_registry._registry
    before = set(registered)
    try:
        yield
    finally:
        for name in set(registered) - before:
            # A library that is imported meanwhile registers those of its operations.
            if name.startswith("CustomGradient-"):
                del registered[name]


def recompute_activation(layer: Any) -> None:
    """Let a Dense layer keep only the input and the output of its activation."""
    layer.activation = recomputed(layer.activation)


def recompute_attention(layer: Any) -> None:
    """Let a MultiHeadAttention keep one array of length x length per head, of one byte per number: what dropout keeps.

    Keras keeps the probabilities before and after the mask and after dropout too.
    """
    original = layer._compute_attention

    # Keras gives these arguments by position.
    def compute_attention(query: Any, key: Any, value: Any, attention_mask: Any = None, training: Any = None, *options: Any) -> Any:
        if not training or any(options):
            return original(query, key, value, attention_mask, training, *options)
        rate = layer._dropout
        if not rate:
            return recomputed(lambda *inputs: original(*inputs, attention_mask, training)[0])(query, key, value), None
        # Keras shortens its seed in this way.
        seed = tf.cast(tf.math.floormod(layer._dropout_layer.seed_generator.next(), tf.int32.max - 1), tf.int32)
        shape = [tf.shape(query)[0], tf.shape(query)[2], tf.shape(query)[1], tf.shape(key)[1]]
        is_kept = tf.random.stateless_uniform(shape, seed, dtype=query.dtype) >= rate
        scale = tf.cast(1 / (1 - rate), query.dtype)

        def attention(query: Any, key: Any, value: Any) -> Any:
            query = query * tf.cast(layer._inverse_sqrt_key_dim, query.dtype)
            scores = keras.ops.einsum(layer._dot_product_equation, key, query)
            probabilities = layer._masked_softmax(scores, attention_mask)
            kept = tf.where(is_kept, probabilities * scale, tf.zeros((), query.dtype))
            return keras.ops.einsum(layer._combine_equation, kept, value)

        return recomputed(attention)(query, key, value), None

    layer._compute_attention = compute_attention
