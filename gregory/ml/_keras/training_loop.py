"""The training loop of a compiled network: epochs, early stopping, progress, and a checkpoint after each epoch."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gregory.ml._keras import checkpoint
from gregory.ml._keras.batching import Encoded, batches_of, training_batches, validation_batches
from gregory.ml._keras.checkpoint import CheckpointState
from gregory.ml._keras.recompute import forgotten_gradients
from gregory.ml._keras.runtime import keras, release_memory, translated_memory_errors
from gregory.ml.progress import Progress, Report

_SECONDS_BETWEEN_STEPS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The settings of a fit. Early stopping uses the validation loss from epoch `start_from_epoch` on (counted from 0).

    micro_batch: examples in memory at once, if fewer than a batch; then the optimiser must accumulate over `accumulation_steps`.
    length: the padded length of every sequence; None: the longest of its batch.
    """

    epochs: int
    batch_size: int
    patience: int
    start_from_epoch: int = 0
    micro_batch: int | None = None
    length: int | None = None

    @property
    def examples_at_once(self) -> int:
        """Examples in memory at once."""
        return min(self.micro_batch or self.batch_size, self.batch_size)

    @property
    def accumulation_steps(self) -> int | None:
        """The argument `gradient_accumulation_steps` of Keras' optimisers. None if a batch is one step."""
        pieces = batches_of(self.batch_size, self.examples_at_once)
        return pieces if pieces > 1 else None


def fit(
    model: Any,
    *,
    train: Encoded,
    validation: Encoded,
    schedule: Schedule,
    seed: int,
    report: Report,
    checkpoint_file: Path | None = None,
) -> list[dict[str, float]]:
    """Fit a compiled model, restore the weights of its best epoch, and return one dict of losses per epoch.

    With a checkpoint file the fit continues after the last epoch of the file. The result is the same as without an interruption.
    Raises MemoryExhausted if TensorFlow cannot allocate.
    """
    training = _Training(model, train, validation, schedule, seed, report, checkpoint_file)
    with translated_memory_errors(), forgotten_gradients():
        return training.run()


@dataclass(slots=True)
class _Position:
    """The epoch that a fit has reached."""

    epoch: int = 0


class _Training:
    """One fit and the state that its callbacks share."""

    def __init__(
        self, model: Any, train: Encoded, validation: Encoded, schedule: Schedule, seed: int, report: Report, file: Path | None
    ) -> None:
        self._model = model
        self._train = train
        self._validation = validation
        self._schedule = schedule
        self._seed = seed
        self._report = report
        self._file = file
        self._fingerprint = "" if file is None else checkpoint.fingerprint(train, validation, seed=seed, **_mathematics(schedule))
        self._history: list[dict[str, float]] = []
        self._position = _Position()
        self._last_reported = time.monotonic()
        # Keras would keep a copy of the best weights in memory.
        self._stopping = _EarlyStopping(monitor="val_loss", patience=schedule.patience, start_from_epoch=schedule.start_from_epoch)
        # The best weights, if no file has them.
        self._held: list[Any] | None = None

    def run(self) -> list[dict[str, float]]:
        # TensorFlow traces the training step a second time if the first trace creates variables.
        self._model.optimizer.build(self._model.trainable_variables)
        ended = self._resume()
        schedule = self._schedule
        if not ended:
            # TensorFlow never frees this function. It must not hold the model, because that holds the moments of the optimiser.
            position = self._position
            batches = training_batches(
                self._train,
                batch_size=schedule.batch_size,
                pieces=schedule.accumulation_steps or 1,
                length=schedule.length,
                seed=self._seed,
                epoch=lambda: position.epoch,
            )
            self._model.fit(
                batches,
                validation_data=validation_batches(self._validation, batch_size=schedule.examples_at_once, length=schedule.length),
                initial_epoch=len(self._history),
                epochs=schedule.epochs,
                callbacks=[self._callbacks(), self._stopping, keras.callbacks.LambdaCallback(on_epoch_end=self._save)],
                shuffle=False,
                verbose=0,
            )
            self._release_graphs()
        self._report(Progress(message=f"restored the weights of epoch {self._restored()} of {len(self._history)}", fraction=1.0))
        return self._history

    def _release_graphs(self) -> None:
        """Free the graphs of the steps. With them, the best weights and the predictions would not fit into the memory of the steps."""
        self._model.train_function = self._model.test_function = None
        release_memory()

    def _restored(self) -> int:
        """Set the weights of the best epoch, and return its number, counted from 1."""
        epochs = len(self._history)
        best = epochs if self._stopping.best is None else self._stopping.best_epoch + 1
        if best != epochs and self._held is not None:
            self._model.set_weights(self._held)
        elif best != epochs and self._file is not None:
            checkpoint.restore_best(self._file, self._model)
        return best

    def _resume(self) -> bool:
        """Continue from the checkpoint file. Returns True if the fit had ended."""
        state = checkpoint.read(self._file) if self._file is not None else None
        if self._file is None or state is None:
            return False
        if state.fingerprint != self._fingerprint or state.micro_batch != self._schedule.examples_at_once:
            self._report(Progress(message="the checkpoint belongs to another training: starting from the first epoch", warning=True))
            return False
        try:
            checkpoint.restore(self._file, self._model)
        except checkpoint.CorruptCheckpoint as damage:
            self._report(Progress(message=f"the checkpoint is damaged ({damage}): starting from the first epoch", warning=True))
            return False
        self._history = list(state.epochs)
        self._position.epoch = len(self._history)
        self._stopping.continue_from(state)
        self._report(
            Progress(
                message=f"continuing after epoch {self._position.epoch} of {self._schedule.epochs}",
                fraction=self._position.epoch / self._schedule.epochs,
            )
        )
        return state.ended

    def _callbacks(self) -> Any:
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=self._begin, on_train_batch_end=self._report_step, on_epoch_end=self._report_epoch
        )

    def _begin(self, index: int, logs: object) -> None:
        self._position.epoch = index

    def _report_step(self, index: int, logs: dict[str, float]) -> None:
        if time.monotonic() - self._last_reported < _SECONDS_BETWEEN_STEPS:
            return
        self._last_reported = time.monotonic()
        pieces = self._schedule.accumulation_steps or 1
        steps, step = batches_of(len(self._train.token_ids), self._schedule.batch_size), index // pieces + 1
        loss = float(logs["loss"])
        message = f"epoch {self._position.epoch + 1}/{self._schedule.epochs} step {step}/{steps} loss {loss:.4f}"
        done = (self._position.epoch + (index + 1) / (steps * pieces)) / self._schedule.epochs
        self._report(Progress(message=message, fraction=done, epoch=self._position.epoch + 1, figures={"loss": loss}))

    def _report_epoch(self, index: int, logs: dict[str, float]) -> None:
        figures = {name: float(value) for name, value in logs.items()}
        self._history.append(figures)
        losses = " ".join(f"{name} {value:.4f}" for name, value in figures.items())
        message = f"epoch {index + 1}/{self._schedule.epochs} {losses}"
        self._report(Progress(message=message, fraction=(index + 1) / self._schedule.epochs, epoch=index + 1, figures=figures))

    def _save(self, index: int, logs: object) -> None:
        stopping = self._stopping
        is_best = stopping.best is not None and stopping.best_epoch == index
        if self._file is None:
            self._hold(is_best)
            return
        state = CheckpointState(
            fingerprint=self._fingerprint,
            micro_batch=self._schedule.examples_at_once,
            epochs=tuple(self._history),
            best=None if stopping.best is None else float(stopping.best),
            best_epoch=stopping.best_epoch,
            wait=stopping.wait,
            ended=self._model.stop_training or index + 1 == self._schedule.epochs,
        )
        try:
            checkpoint.write(self._file, state, self._model, self._held)
            self._held = None
        except (OSError, checkpoint.CorruptCheckpoint) as error:
            # A checkpoint only saves time. If the disk is full, writing the model fails later.
            self._hold(is_best)
            self._report(Progress(message=f"cannot write the checkpoint after epoch {index + 1}: {error}", warning=True))

    def _hold(self, is_best: bool) -> None:
        """Keep the weights in memory if they are the best."""
        if is_best:
            self._held = None  # two copies would not fit
            self._held = self._model.get_weights()


class _EarlyStopping(keras.callbacks.EarlyStopping):  # type: ignore[misc]
    """Keras' early stopping, which can continue from the state of a checkpoint."""

    _known: CheckpointState | None = None

    def continue_from(self, state: CheckpointState) -> None:
        """Set the state for the beginning of the training."""
        self._known = state
        self._recall()

    def on_train_begin(self, logs: object = None) -> None:
        """Reset the state, then set that of the checkpoint."""
        super().on_train_begin(logs)
        self._recall()

    def _recall(self) -> None:
        if self._known is None or self._known.best is None:
            return
        self.best, self.best_epoch, self.wait = self._known.best, self._known.best_epoch, self._known.wait


def _mathematics(schedule: Schedule) -> dict[str, object]:
    """The settings of a schedule that change the result."""
    return {name: value for name, value in asdict(schedule).items() if name != "micro_batch"}
