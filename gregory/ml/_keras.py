"""Keras and TensorFlow as the trainers use them: start-up, feeding, fitting, asking, and weight files. The only module that imports
them; the networks themselves stand in the trainers, which take `keras` and `keras_hub` from here."""

import gc
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gregory.ml.errors import ArtifactError, MemoryExhausted
from gregory.ml.progress import Progress, Report

# Read once, while the libraries are imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
# The system's allocator gives every large tensor back to the kernel and asks for it again: a quarter of BERT's time on a CPU.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")

import keras as keras
import keras_hub as keras_hub
import tensorflow as tf

tf.get_logger().setLevel("ERROR")

PADDING_ID = 0
_POOL = 8  # batches sorted by length together: enough to save padding, few enough to keep the shuffle
_LENGTH_STEP = 8  # padded lengths are multiples of this, so that a GPU meets few different shapes
_SECONDS_BETWEEN_STEPS = 5.0
_SUFFIX = ".weights.h5"  # Keras takes any other name for its legacy format

# Open dimensions: a network is traced once, not once per length.
_IDS = tf.TensorSpec((None, None), tf.int32)

TokenIds = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Texts as the network reads them. token_ids: n sequences of at least one id; targets: float32 array (n, outputs)."""

    token_ids: TokenIds
    targets: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long to fit. Early stopping watches the validation loss from epoch `start_from_epoch` (counted from 0) on."""

    epochs: int
    batch_size: int
    patience: int
    start_from_epoch: int = 0


def prepare(*, threads: int, seed: int | None = None) -> None:
    """Use this many threads; with a seed, also make everything random in Keras and TensorFlow repeatable."""
    _limit_threads(threads)
    # A network is held by cycles, and the collector counts objects, not gigabytes: free the last fit's before the next one's.
    gc.collect()
    if seed is not None:
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()


def batch_plan(lengths: Sequence[int], batch_size: int, generator: np.random.Generator | None = None) -> list[NDArray[np.intp]]:
    """Which sequences stand together in each batch, by position: batches of similar length.

    Without a generator the order is that of length. With one, sequences are shuffled, sorted by length within pools of a
    few batches, and the batches shuffled: random batches padded to their longest member would save nothing.
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


def pad(sequences: TokenIds) -> NDArray[np.int32]:
    """One int32 array (n, longest): padded on the right, as cuDNN asks, to a multiple of a few tokens."""
    longest = max(len(sequence) for sequence in sequences)
    array = np.full((len(sequences), -(-longest // _LENGTH_STEP) * _LENGTH_STEP), PADDING_ID, dtype=np.int32)
    for row, sequence in zip(array, sequences, strict=True):
        row[: len(sequence)] = sequence
    return array


def fit(model: Any, *, train: Encoded, validation: Encoded, schedule: Schedule, seed: int, report: Report) -> list[dict[str, float]]:
    """Fit a compiled model, restore the weights of its best epoch, and return one dict of losses per epoch.

    Raises MemoryExhausted where TensorFlow could not allocate.
    """
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=schedule.patience, start_from_epoch=schedule.start_from_epoch, restore_best_weights=True
    )
    steps = len(batch_plan([1] * len(train.token_ids), schedule.batch_size))
    with _translated_memory_errors():
        history = model.fit(
            _feed(train, schedule.batch_size, seed=seed),
            validation_data=_feed(validation, schedule.batch_size),
            epochs=schedule.epochs,
            callbacks=[stopping, _reporting(schedule.epochs, steps, report)],
            shuffle=False,
            verbose=0,
        ).history
    epochs = [dict(zip(history, map(float, values), strict=True)) for values in zip(*history.values(), strict=True)]
    kept = stopping.best_epoch + 1 if stopping.best_weights is not None else len(epochs)
    report(Progress(message=f"kept the weights of epoch {kept} of {len(epochs)}", fraction=1.0))
    return epochs


class Predictor:
    """Asks a network for many texts at once."""

    def __init__(self, model: Any) -> None:
        # Keras' own predict would trace the network again for every new pair of batch size and length it meets first.
        self._call = tf.function(lambda token_ids: model(token_ids, training=False), input_signature=[_IDS], jit_compile=False)

    def predict(self, token_ids: TokenIds, *, batch_size: int) -> NDArray[np.float64]:
        """The network's outputs, array (n, outputs), in the order given. Raises MemoryExhausted where TensorFlow could not allocate."""
        # Sorted by content, not by position, a text meets the same neighbours, and so the same rounding, in whatever order it is asked.
        order = sorted(range(len(token_ids)), key=lambda position: (len(token_ids[position]), token_ids[position]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        with _translated_memory_errors():
            outputs = [self._call(pad([token_ids[position] for position in batch])).numpy() for batch in batches]
        restored = np.empty((len(order), outputs[0].shape[1]), dtype=np.float64)
        restored[order] = np.concatenate(outputs)
        return restored


def save_weights(model: Any, path: Path) -> None:
    """Write the model's weights to `path`, whatever its name, without the optimiser's moments."""
    temporary = path.with_name(path.stem + _SUFFIX)
    # The name is written into the file; a generated one would count up with every save.
    keras.Model(model.input, model.output, name=model.name).save_weights(temporary)
    temporary.replace(path)


def load_weights(model: Any, path: Path) -> None:
    """Read weights written by `save_weights` into a model of the same shape. Raises ArtifactError where they do not fit."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, path.stem + _SUFFIX)
        link.symlink_to(path.resolve())
        try:
            keras.Model(model.input, model.output).load_weights(link)
        except (OSError, ValueError, KeyError) as error:
            raise ArtifactError(f"{path} does not hold the weights of this network: {error}; train the model again") from error


def _limit_threads(threads: int) -> None:
    settings = tf.config.threading
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        # TensorFlow fixes its pools at first use: the first model of a process decides.
        return


def _feed(encoded: Encoded, batch_size: int, *, seed: int | None = None) -> Any:
    """A tf.data pipeline of padded batches; with a seed, each pass over it is another shuffle."""
    token_ids, targets = encoded.token_ids, encoded.targets
    lengths = [len(sequence) for sequence in token_ids]
    passes = 0

    def batches() -> Iterator[Any]:
        nonlocal passes
        generator = None if seed is None else np.random.default_rng([seed, passes])
        passes += 1
        for positions in batch_plan(lengths, batch_size, generator):
            yield pad([token_ids[position] for position in positions]), targets[positions]

    signature = (_IDS, tf.TensorSpec((None, targets.shape[1]), tf.float32))
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-len(lengths) // batch_size))).prefetch(2)


def _reporting(epochs: int, steps: int, report: Report) -> Any:
    epoch = 0
    told = time.monotonic()

    def begin(index: int, logs: object) -> None:
        nonlocal epoch
        epoch = index

    def step(index: int, logs: dict[str, float]) -> None:
        nonlocal told
        if time.monotonic() - told >= _SECONDS_BETWEEN_STEPS:
            told = time.monotonic()
            done = (epoch * steps + index + 1) / (epochs * steps)
            loss = float(logs["loss"])
            message = f"epoch {epoch + 1}/{epochs} step {index + 1}/{steps} loss {loss:.4f}"
            report(Progress(message=message, fraction=done, epoch=epoch + 1, figures={"loss": loss}))

    def end(index: int, logs: dict[str, float]) -> None:
        figures = {name: float(value) for name, value in logs.items()}
        told_figures = " ".join(f"{name} {value:.4f}" for name, value in figures.items())
        message = f"epoch {index + 1}/{epochs} {told_figures}"
        report(Progress(message=message, fraction=(index + 1) / epochs, epoch=index + 1, figures=figures))

    return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_train_batch_end=step, on_epoch_end=end)


@contextmanager
def _translated_memory_errors() -> Iterator[None]:
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        first = error.message.strip().partition("\n")[0]
        raise MemoryExhausted(f"TensorFlow ran out of memory ({first}); give the run more, or lower the batch size") from error
