"""Sequences of token ids as batches of arrays: what stands together, how it is padded, and in which order it comes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gregory.ml._keras.runtime import tf

PADDING_ID = 0
_POOL = 50  # batches sorted by length together, as in Hugging Face's length-grouped sampler
_GPU_STEP = 8  # padded lengths are multiples of this on a GPU, which chooses its kernels anew for every shape

# Open dimensions: a network is traced once, not once per length.
IDS = tf.TensorSpec((None, None), tf.int32)

TokenIds = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Texts as the network reads them. token_ids: n sequences of at least one id; targets: float32 array (n, outputs)."""

    token_ids: TokenIds
    targets: NDArray[np.float32]


def batch_plan(lengths: Sequence[int], batch_size: int, generator: np.random.Generator | None = None) -> list[NDArray[np.intp]]:
    """Which sequences stand together in each batch, by position: batches of similar length.

    Without a generator the order is that of length. With one, sequences are shuffled, sorted by length within pools of
    batches, and the batches shuffled: random batches padded to their longest member would save nothing.
    """
    sizes = np.asarray(lengths)
    pool = _POOL * batch_size if generator else max(len(sizes), 1)
    order = generator.permutation(len(sizes)) if generator else np.arange(len(sizes))
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    by_length = [members[np.argsort(sizes[members], kind="stable")] for members in pools]
    batches = [members[start : start + batch_size] for members in by_length for start in range(0, len(members), batch_size)]
    if generator:
        generator.shuffle(batches)
    return batches


def pad(sequences: TokenIds, length: int | None = None) -> NDArray[np.int32]:
    """One int32 array (n, length): padded on the right, as cuDNN asks; by default to the longest, on a GPU rounded up a little."""
    longest = max(len(sequence) for sequence in sequences)
    step = _GPU_STEP if tf.config.list_physical_devices("GPU") else 1
    width = length or -(-longest // step) * step
    array = np.full((len(sequences), width), PADDING_ID, dtype=np.int32)
    for row, sequence in zip(array, sequences, strict=True):
        row[: len(sequence)] = sequence
    return array


def micro_batches(batch: NDArray[np.intp], count: int) -> list[tuple[NDArray[np.intp], float]]:
    """A batch cut into exactly `count` pieces, each with the weight of its rows.

    An optimiser that accumulates takes the mean over `count` losses, each a mean over its rows. With weight
    count x rows / batch that is the mean over the batch, whatever the sizes. A batch too small for so many pieces is filled up with
    pieces that weigh nothing.
    """
    pieces = np.array_split(batch, count)
    return [(piece, count * len(piece) / len(batch)) if len(piece) else (batch[:1], 0.0) for piece in pieces]


def training_batches(encoded: Encoded, *, batch_size: int, pieces: int, length: int | None, seed: int, epoch: Callable[[], int]) -> Any:
    """A tf.data pipeline of (ids, targets, weights); each epoch, asked for when a pass begins, is another shuffle."""
    token_ids, targets = encoded.token_ids, encoded.targets
    lengths = [len(sequence) for sequence in token_ids]

    def batches() -> Iterator[Any]:
        for batch in batch_plan(lengths, batch_size, np.random.default_rng([seed, epoch()])):
            for rows, weight in micro_batches(batch, pieces):
                yield pad([token_ids[row] for row in rows], length), targets[rows], np.full(len(rows), weight, np.float32)

    signature = (IDS, tf.TensorSpec((None, targets.shape[1]), tf.float32), tf.TensorSpec((None,), tf.float32))
    return _pipeline(batches, signature, batches_of(len(lengths), batch_size) * pieces)


def validation_batches(encoded: Encoded, *, batch_size: int, length: int | None) -> Any:
    """A tf.data pipeline of (ids, targets) in order of length."""
    token_ids, targets = encoded.token_ids, encoded.targets

    def batches() -> Iterator[Any]:
        for rows in batch_plan([len(sequence) for sequence in token_ids], batch_size):
            yield pad([token_ids[row] for row in rows], length), targets[rows]

    signature = (IDS, tf.TensorSpec((None, targets.shape[1]), tf.float32))
    return _pipeline(batches, signature, batches_of(len(token_ids), batch_size))


def batches_of(rows: int, batch_size: int) -> int:
    """How many batches these rows fill, the last one perhaps not quite."""
    return -(-rows // batch_size)


def _pipeline(batches: Callable[[], Iterator[Any]], signature: Any, count: int) -> Any:
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)
