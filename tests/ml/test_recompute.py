"""Layers that compute values again have the numbers of Keras and keep fewer arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gregory.ml._keras import keras, recompute_activation, recompute_attention, tf
from gregory.ml.trainers.bert_encoder import keep_less, load_backbone
from tests.ml.tiny_models import tiny_encoder

HEADS, WIDTH = 4, 32
Gradients = Callable[[Any], tuple[Any, Any]]


def attention(dropout: float) -> Any:
    keras.utils.set_random_seed(69)
    layer = keras.layers.MultiHeadAttention(HEADS, WIDTH // HEADS, dropout=dropout, seed=3)
    layer.build((None, None, WIDTH), (None, None, WIDTH))
    return layer


def gradients(layers: list[Any], call: Callable[[Any, Any], Any], training: bool = True) -> Gradients:
    """The outputs of the layers one after the other, and the gradients of their weights and of the input."""

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def compute(inputs: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = inputs
            for layer in layers:
                output = call(layer, output)
        weights = [weight.value for layer in layers for weight in layer.trainable_variables]
        return output, tape.gradient(output, [inputs, *weights])

    return compute


def tensor(*shape: int) -> Any:
    return tf.constant(np.random.default_rng(3).normal(size=shape).astype(np.float32))


def same(mine: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    np.testing.assert_allclose(mine[0], theirs[0], rtol=0, atol=1e-6)
    for one, other in zip(mine[1], theirs[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_has_the_values_gradients_and_random_numbers_of_keras(dropout: float, training: bool) -> None:
    mask = tf.constant([[[True] * 5 + [False] * 2] * 7, [[True] * 7] * 7])

    def call(layer: Any, inputs: Any) -> Any:
        return layer(inputs, inputs, attention_mask=mask, training=training)

    mine, theirs = attention(dropout), attention(dropout)
    recompute_attention(mine)
    found, expected = gradients([mine], call), gradients([theirs], call)
    # The second call draws other random numbers.
    for _ in range(2):
        same(found(tensor(2, 7, WIDTH)), expected(tensor(2, 7, WIDTH)))
    different = not np.allclose(expected(tensor(2, 7, WIDTH))[0], expected(tensor(2, 7, WIDTH))[0])
    assert different is bool(dropout and training)


@pytest.mark.parametrize("approximate", [True, False])
def test_an_activation_has_the_values_and_gradients_of_keras(approximate: bool) -> None:
    def layer() -> Any:
        keras.utils.set_random_seed(69)
        dense = keras.layers.Dense(WIDTH, activation=lambda x: keras.activations.gelu(x, approximate=approximate))
        dense.build((None, WIDTH))
        return dense

    def call(layer: Any, inputs: Any) -> Any:
        return layer(inputs)

    mine, theirs = layer(), layer()
    recompute_activation(mine)
    same(gradients([mine], call)(tensor(7, WIDTH)), gradients([theirs], call)(tensor(7, WIDTH)))


def peak(compute: Gradients, inputs: Any) -> int:
    """The most bytes of tensors during a call, without those before it."""
    compute(inputs)
    tf.config.experimental.reset_memory_stats("CPU:0")
    before = tf.config.experimental.get_memory_info("CPU:0")["current"]
    compute(inputs)
    return int(tf.config.experimental.get_memory_info("CPU:0")["peak"]) - before


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_attention_keeps_no_array_of_length_by_length_except_that_of_dropout(dropout: float) -> None:
    length, layers = 256, 12
    square = HEADS * length**2 * 4

    def call(layer: Any, inputs: Any) -> Any:
        return layer(inputs, inputs, training=True)

    peaks = []
    for recomputes in (True, False):
        chain = [attention(dropout) for _ in range(layers)]
        for layer in chain if recomputes else ():
            recompute_attention(layer)
        peaks.append(peak(gradients(chain, call), tensor(1, length, WIDTH)))
    # One layer at a time has all of its arrays.
    assert peaks[0] < 0.6 * peaks[1]
    assert peaks[0] < square * (layers * 0.25 + 8)


def test_an_activation_keeps_two_arrays() -> None:
    rows, layers = 4096, 8
    array = rows * WIDTH * 4

    def call(layer: Any, inputs: Any) -> Any:
        return layer(inputs)

    def chain() -> list[Any]:
        dense = [keras.layers.Dense(WIDTH, activation=lambda x: keras.activations.gelu(x, approximate=False)) for _ in range(layers)]
        for layer in dense:
            layer.build((None, WIDTH))
        return dense

    plain, less = chain(), chain()
    for layer in less:
        recompute_activation(layer)
    found, expected = (peak(gradients(layers, call), tensor(rows, WIDTH)) for layers in (less, plain))
    assert found < array * (2 * layers + 6) < expected


def test_every_layer_of_an_encoder_keeps_less(tmp_path: Path) -> None:
    backbone = load_backbone(tiny_encoder(tmp_path))
    before = [
        (layer._feedforward_intermediate_dense.activation, layer._self_attention_layer._compute_attention)
        for layer in backbone.transformer_layers
    ]
    keep_less(backbone)
    for layer, (activation, compute) in zip(backbone.transformer_layers, before, strict=True):
        assert layer._feedforward_intermediate_dense.activation is not activation
        assert layer._self_attention_layer._compute_attention != compute
