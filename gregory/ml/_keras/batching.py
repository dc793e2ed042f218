"""Batches of arrays from sequences of token ids: their members, their padding and their order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gregory.ml._keras.runtime import tf
from gregory.ml.resources import return_free_memory

PADDING_ID = 0
_POOL = 50  # batches that are sorted by length together, as in the length-grouped sampler of Hugging Face
_GPU_STEP = 8  # padded lengths on a GPU are multiples of this, because a GPU selects its kernels again for every shape

# With open dimensions TensorFlow traces a network once, not once per length.
IDS = tf.TensorSpec((None, None), tf.int32)

TokenIds = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The input of a network. token_ids: n sequences of at least one id. targets: float32 array (n, outputs)."""

    token_ids: TokenIds
    targets: NDArray[np.float32]


def batch_plan(lengths: Sequence[int], batch_size: int, generator: np.random.Generator | None = None) -> list[NDArray[np.intp]]:
    """The positions of the sequences of each batch. The sequences of a batch have similar lengths.

    Without a generator, the batches are in order of length. With a generator, the sequences are shuffled, sorted by length within
    pools of 50 batches, and the batches are shuffled. Random batches need so much padding that they save nothing.
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
    """An int32 array (n, length), padded on the right, as cuDNN requires.

    The default length is that of the longest sequence, on a GPU rounded up to a multiple of 8.
    """
    longest = max(len(sequence) for sequence in sequences)
    step = _GPU_STEP if tf.config.list_physical_devices("GPU") else 1
    width = length or -(-longest // step) * step
    array = np.full((len(sequences), width), PADDING_ID, dtype=np.int32)
    for padded, sequence in zip(array, sequences, strict=True):
        padded[: len(sequence)] = sequence
    return array


def micro_batches(batch: NDArray[np.intp], count: int) -> list[tuple[NDArray[np.intp], float]]:
    """Cut a batch into exactly `count` pieces, each with the weight of its examples.

    An accumulating optimiser takes the mean of `count` losses, and each loss is a mean over its examples. With the weight
    count x examples / batch, the result is the mean over the batch for all sizes. A small batch gets extra pieces of weight 0.
    """
    pieces = np.array_split(batch, count)
    return [(piece, count * len(piece) / len(batch)) if len(piece) else (batch[:1], 0.0) for piece in pieces]


def training_batches(encoded: Encoded, *, batch_size: int, pieces: int, length: int | None, seed: int, epoch: Callable[[], int]) -> Any:
    """A tf.data pipeline of (ids, targets, weights). Each pass calls `epoch` when it begins, and each epoch has its own order."""
    token_ids, targets = encoded.token_ids, encoded.targets
    lengths = [len(sequence) for sequence in token_ids]

    def batches() -> Iterator[Any]:
        for batch in batch_plan(lengths, batch_size, np.random.default_rng([seed, epoch()])):
            for piece, weight in micro_batches(batch, pieces):
                yield pad([token_ids[index] for index in piece], length), targets[piece], np.full(len(piece), weight, np.float32)

    signature = (IDS, tf.TensorSpec((None, targets.shape[1]), tf.float32), tf.TensorSpec((None,), tf.float32))
    return _pipeline(batches, signature, batches_of(len(lengths), batch_size) * pieces)


def validation_batches(encoded: Encoded, *, batch_size: int, length: int | None) -> Any:
    """A tf.data pipeline of (ids, targets) in order of length."""
    token_ids, targets = encoded.token_ids, encoded.targets

    def batches() -> Iterator[Any]:
        for batch in batch_plan([len(sequence) for sequence in token_ids], batch_size):
            yield pad([token_ids[index] for index in batch], length), targets[batch]

    signature = (IDS, tf.TensorSpec((None, targets.shape[1]), tf.float32))
    return _pipeline(batches, signature, batches_of(len(token_ids), batch_size))


def batches_of(examples: int, batch_size: int) -> int:
    """The number of batches of these examples. The last batch may be smaller."""
    return -(-examples // batch_size)


def _pipeline(batches: Callable[[], Iterator[Any]], signature: Any, count: int) -> Any:
    def begun() -> Iterator[Any]:
        # The first batch is asked for after TensorFlow has optimised the graph of the step. For BERT-base that leaves 120 MiB free.
        return_free_memory()
        return batches()

    dataset = tf.data.Dataset.from_generator(begun, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)
