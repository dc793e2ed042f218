"""How much memory fine-tuning takes, and so how many rows fit at once: arithmetic, held against measurements by benchmarks/bert_memory.py.

Per row and layer TensorFlow keeps, for the way back, a few arrays of heads x length x length (scores, their softmax, dropout),
and a few of length x hidden and of length x inner. The counts below were fitted to peaks of BERT-base and of MiniLM.
"""

from dataclasses import dataclass

_FLOAT = 4  # bytes; nothing is taken off for mixed precision, in which the sums that matter stay float32
_SQUARE_ARRAYS = 2.7
_HIDDEN_ARRAYS = 12
_INNER_ARRAYS = 2.9
# Weights, gradients, their sum over micro-batches, two moments, the best weights so far, and what Adam computes with.
_COPIES_OF_WEIGHTS = 8
_LIBRARIES = 1100 * 2**20
# Allocators fragment, and the machine does other things.
_USABLE = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSize:
    """The sizes of a BERT that its memory depends on."""

    layers: int
    heads: int
    hidden: int
    inner: int
    parameters: int


def step_bytes(size: EncoderSize, *, rows: int, length: int) -> int:
    """About the peak of a process that trains on `rows` texts of `length` tokens at once."""
    square = _SQUARE_ARRAYS * size.heads * length**2
    flat = length * (_HIDDEN_ARRAYS * size.hidden + _INNER_ARRAYS * size.inner)
    activations = rows * size.layers * (square + flat)
    return _LIBRARIES + int(_FLOAT * (_COPIES_OF_WEIGHTS * size.parameters + activations))


def largest_micro_batch(size: EncoderSize, *, batch_size: int, length: int, available: int, tokens: int | None = None) -> int:
    """The most rows that fit into `available` bytes, and into as many tokens: the batch, or it halved as often as needed, at least 1."""
    rows = batch_size
    while rows > 1 and (
        step_bytes(size, rows=rows, length=length) > _USABLE * available or (tokens is not None and rows * length > tokens)
    ):
        rows = -(-rows // 2)
    return rows
