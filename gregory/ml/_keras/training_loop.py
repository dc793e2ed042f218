"""Fitting a compiled network: epochs, early stopping, progress, and the checkpoint after each epoch."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gregory.ml._keras import checkpoint
from gregory.ml._keras.batching import Encoded, batches_of, training_batches, validation_batches
from gregory.ml._keras.checkpoint import CheckpointState
from gregory.ml._keras.runtime import keras, translated_memory_errors
from gregory.ml.progress import Progress, Report

_SECONDS_BETWEEN_STEPS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How to fit. Early stopping watches the validation loss from epoch `start_from_epoch` (counted from 0) on.

    micro_batch: rows that are in memory at once, where that is less than a batch; the model's optimiser must then accumulate
    `accumulation_steps`. length: pad every row to this, None for the longest of its batch.
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
        """What Keras' optimisers call so; None where a batch is taken at once."""
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

    With a checkpoint file the fit continues where that file stands, with the result it would have had without the break.
    Raises MemoryExhausted where TensorFlow could not allocate.
    """
    training = _Training(model, train, validation, schedule, seed, report, checkpoint_file)
    with translated_memory_errors():
        return training.run()


class _Training:
    """One fit with what its callbacks share."""

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
        self._epoch = 0
        self._last_reported = time.monotonic()
        self._stopping = _EarlyStopping(
            monitor="val_loss", patience=schedule.patience, start_from_epoch=schedule.start_from_epoch, restore_best_weights=True
        )

    def run(self) -> list[dict[str, float]]:
        ended = self._resume()
        schedule = self._schedule
        if ended:
            self._stopping.restore_into(self._model)
        else:
            feed = training_batches(
                self._train,
                batch_size=schedule.batch_size,
                pieces=schedule.accumulation_steps or 1,
                length=schedule.length,
                seed=self._seed,
                epoch=lambda: self._epoch,
            )
            self._model.fit(
                feed,
                validation_data=validation_batches(self._validation, batch_size=schedule.examples_at_once, length=schedule.length),
                initial_epoch=len(self._history),
                epochs=schedule.epochs,
                callbacks=[self._callbacks(), self._stopping, keras.callbacks.LambdaCallback(on_epoch_end=self._keep)],
                shuffle=False,
                verbose=0,
            )
        kept = self._stopping.best_epoch + 1 if self._stopping.best_weights is not None else len(self._history)
        self._report(Progress(message=f"kept the weights of epoch {kept} of {len(self._history)}", fraction=1.0))
        return self._history

    def _resume(self) -> bool:
        """Take over what the checkpoint file holds; whether that was the end."""
        state = checkpoint.read(self._file) if self._file is not None else None
        if self._file is None or state is None:
            return False
        if state.fingerprint != self._fingerprint or state.micro_batch != self._schedule.examples_at_once:
            self._report(Progress(message="the checkpoint found belongs to another training: starting from the first epoch", warning=True))
            return False
        try:
            best_weights = checkpoint.restore(self._file, self._model)
        except checkpoint.CorruptCheckpoint as damage:
            self._report(Progress(message=f"the checkpoint found is damaged ({damage}): starting from the first epoch", warning=True))
            return False
        self._history = list(state.epochs)
        self._epoch = len(self._history)
        self._stopping.continue_from(state, best_weights)
        self._report(
            Progress(
                message=f"continuing after epoch {self._epoch} of {self._schedule.epochs}", fraction=self._epoch / self._schedule.epochs
            )
        )
        return state.ended

    def _callbacks(self) -> Any:
        return keras.callbacks.LambdaCallback(
            on_epoch_begin=self._begin, on_train_batch_end=self._report_step, on_epoch_end=self._report_epoch
        )

    def _begin(self, index: int, logs: object) -> None:
        self._epoch = index

    def _report_step(self, index: int, logs: dict[str, float]) -> None:
        if time.monotonic() - self._last_reported < _SECONDS_BETWEEN_STEPS:
            return
        self._last_reported = time.monotonic()
        pieces = self._schedule.accumulation_steps or 1
        steps, step = batches_of(len(self._train.token_ids), self._schedule.batch_size), index // pieces + 1
        loss = float(logs["loss"])
        message = f"epoch {self._epoch + 1}/{self._schedule.epochs} step {step}/{steps} loss {loss:.4f}"
        done = (self._epoch + (index + 1) / (steps * pieces)) / self._schedule.epochs
        self._report(Progress(message=message, fraction=done, epoch=self._epoch + 1, figures={"loss": loss}))

    def _report_epoch(self, index: int, logs: dict[str, float]) -> None:
        figures = {name: float(value) for name, value in logs.items()}
        self._history.append(figures)
        told_figures = " ".join(f"{name} {value:.4f}" for name, value in figures.items())
        message = f"epoch {index + 1}/{self._schedule.epochs} {told_figures}"
        self._report(Progress(message=message, fraction=(index + 1) / self._schedule.epochs, epoch=index + 1, figures=figures))

    def _keep(self, index: int, logs: object) -> None:
        if self._file is None:
            return
        stopping = self._stopping
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
            checkpoint.write(self._file, state, self._model, stopping.best_weights)
        except OSError as error:
            # It would only have saved time: what fails for want of disk is the model, if that is so.
            self._report(Progress(message=f"no checkpoint after epoch {index + 1}: {error}", warning=True))


class _EarlyStopping(keras.callbacks.EarlyStopping):  # type: ignore[misc]
    """Keras' own, able to start from what it knew before a break."""

    _known: tuple[CheckpointState, list[Any]] | None = None

    def continue_from(self, state: CheckpointState, best_weights: list[Any]) -> None:
        """What to know when training begins."""
        self._known = (state, best_weights)
        self._recall()

    def on_train_begin(self, logs: object = None) -> None:
        """Forget, then recall."""
        super().on_train_begin(logs)
        self._recall()

    def restore_into(self, model: Any) -> None:
        """What the end of training does, without a training."""
        if self.best_weights is not None:
            model.set_weights(self.best_weights)

    def _recall(self) -> None:
        if self._known is None or self._known[0].best is None:
            return
        state, best_weights = self._known
        self.best, self.best_epoch, self.wait, self.best_weights = state.best, state.best_epoch, state.wait, best_weights


def _mathematics(schedule: Schedule) -> dict[str, object]:
    """The part of a schedule that changes what is learned."""
    return {name: value for name, value in asdict(schedule).items() if name != "micro_batch"}
