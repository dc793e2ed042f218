"""The memory of fine-tuning, and the number of examples that fit at once. benchmarks/bert_memory.py compares it with measurements.

For the backward pass TensorFlow keeps arrays per example and layer: some of heads x length x length (scores, their softmax, dropout),
some of length x hidden and some of length x inner. On a CPU it keeps fewer, because some are computed again: `bert_encoder.keep_less`.
The counts below were fitted to the peaks of BERT-base and MiniLM.
"""

from dataclasses import dataclass

_FLOAT = 4  # bytes; the same for mixed precision, because its important sums are float32
# Allocators fragment memory, and other programs use the machine.
_USABLE = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factors:
    """Numbers of arrays.

    square, hidden, inner: arrays per example and layer, of heads x length x length, length x hidden and length x inner.
    copies_of_weights: weights, gradients, their sum over micro-batches, two moments, and temporary arrays. libraries: bytes.
    """

    square: float
    hidden: float
    inner: float
    copies_of_weights: float
    libraries: int


# The highest phase of a training with one example is not a step but the check that loads the saved model. These factors cover it too.
_ON_CPU = _Factors(square=1.7, hidden=8, inner=1.5, copies_of_weights=5.5, libraries=880 * 2**20)
# Measured on a CPU that kept everything.
_ON_GPU = _Factors(square=2.7, hidden=12, inner=2.9, copies_of_weights=8, libraries=1100 * 2**20)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """The sizes of a BERT that determine its memory."""

    layers: int
    heads: int
    hidden: int
    inner: int
    parameters: int


def step_bytes(size: EncoderSize, *, examples: int, length: int, is_gpu: bool) -> int:
    """The approximate peak, in bytes, of a process that trains on `examples` texts of `length` tokens at once."""
    factors = _ON_GPU if is_gpu else _ON_CPU
    square = factors.square * size.heads * length**2
    flat = length * (factors.hidden * size.hidden + factors.inner * size.inner)
    activations = examples * size.layers * (square + flat)
    return factors.libraries + int(_FLOAT * (factors.copies_of_weights * size.parameters + activations))


def largest_micro_batch(size: EncoderSize, *, batch_size: int, length: int, available: int, is_gpu: bool, tokens: int | None = None) -> int:
    """The examples that fit into `available` bytes and at most `tokens` tokens: the batch, halved until it fits, at least 1."""
    examples = batch_size
    while examples > 1 and (
        step_bytes(size, examples=examples, length=length, is_gpu=is_gpu) > _USABLE * available
        or (tokens is not None and examples * length > tokens)
    ):
        examples = -(-examples // 2)
    return examples
