"""The memory of fine-tuning, and the number of examples that fit at once. benchmarks/bert_memory.py compares it with measurements.

For the backward pass TensorFlow keeps arrays per example and layer: some of heads x length x length (scores, their softmax, dropout),
some of length x hidden and some of length x inner. The counts below were fitted to the peaks of BERT-base and MiniLM.
"""

from dataclasses import dataclass

_FLOAT = 4  # bytes; the same for mixed precision, because its important sums are float32
_SQUARE_ARRAYS = 2.7
_HIDDEN_ARRAYS = 12
_INNER_ARRAYS = 2.9
# Weights, gradients, their sum over micro-batches, two moments, the best weights so far, and the temporary arrays of Adam.
_COPIES_OF_WEIGHTS = 8
_LIBRARIES = 1100 * 2**20
# Allocators fragment memory, and other programs use the machine.
_USABLE = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """The sizes of a BERT that determine its memory."""

    layers: int
    heads: int
    hidden: int
    inner: int
    parameters: int


def step_bytes(size: EncoderSize, *, examples: int, length: int) -> int:
    """The approximate peak, in bytes, of a process that trains on `examples` texts of `length` tokens at once."""
    square = _SQUARE_ARRAYS * size.heads * length**2
    flat = length * (_HIDDEN_ARRAYS * size.hidden + _INNER_ARRAYS * size.inner)
    activations = examples * size.layers * (square + flat)
    return _LIBRARIES + int(_FLOAT * (_COPIES_OF_WEIGHTS * size.parameters + activations))


def largest_micro_batch(size: EncoderSize, *, batch_size: int, length: int, available: int, tokens: int | None = None) -> int:
    """The examples that fit into `available` bytes and at most `tokens` tokens: the batch, halved until it fits, at least 1."""
    examples = batch_size
    while examples > 1 and (
        step_bytes(size, examples=examples, length=length) > _USABLE * available or (tokens is not None and examples * length > tokens)
    ):
        examples = -(-examples // 2)
    return examples
