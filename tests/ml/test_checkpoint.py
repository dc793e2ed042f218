"""Checkpoints: an interrupted fit gives the same result as an uninterrupted one. Micro-batches give the update of the batch."""

import errno
import pickle
import shutil
import tracemalloc
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gregory.ml import _keras
from gregory.ml._keras import checkpoint, keras
from gregory.ml._keras.checkpoint import CheckpointState
from gregory.ml.config import Algorithm, BertConfig, Hyperparameters, LstmConfig
from gregory.ml.dataset import Example
from gregory.ml.errors import DamagedFile
from gregory.ml.progress import Progress, silent
from gregory.ml.registry import trainer_class
from gregory.ml.split import Part, Split
from gregory.ml.trainers.base import TrainedModel, TrainerContext
from tests.ml.tiny_models import IRRELEVANT, NEUTRAL, RELEVANT, tiny_encoder
from tests.planted import Payload

EPOCHS = 5
# A device without free memory: the micro batch is 1.
SMALL = _keras.Device(name="CPU", is_gpu=False, has_bfloat16=False, free_bytes=0)
Finished = Callable[[bool], tuple[TrainedModel, Path]]
NO_DROPOUT = {"dropout": 0.0, "encoder_dropout": 0.0}


class Broken(Exception):
    """It represents the end of the process."""


def part(count: int, seed: int, *, contradicting: bool = False) -> Part:
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        words = RELEVANT if index % 2 else IRRELEVANT
        text = " ".join(generator.choice([*words, *NEUTRAL], size=3 + index % 29))
        rows.append(Example(article_id=index, text=text, label=(index + contradicting) % 2))
    return Part.of(rows)


def train(
    algorithm: Algorithm,
    folder: Path,
    *,
    file: Path | None,
    report: Callable[[Progress], None] = silent,
    contradicting: bool = False,
    rows: int = 35,
    **bert: object,
) -> TrainedModel:
    encoder_dir = folder / "encoder"
    if not encoder_dir.exists():
        tiny_encoder(encoder_dir)
    hyperparameters = Hyperparameters(
        bert=BertConfig.model_validate({"epochs": EPOCHS, "dense_units": 4, "learning_rate": 0.01, **bert}),
        lstm=LstmConfig(
            epochs=EPOCHS, embedding_dim=8, units=4, kernel_l2=0.0, recurrent_l2=0.0, start_from_epoch=1, patience=4, batch_size=1
        ),
    )
    split = Split(train=part(rows, 1), validation=part(17, 2, contradicting=contradicting), test=part(4, 3))
    trainer = trainer_class(algorithm)(hyperparameters, TrainerContext(encoder_dir=encoder_dir, threads=1, seed=69))
    return trainer.fit(split, report=report, checkpoint=file)


def break_after(epochs: int) -> Callable[[Progress], None]:
    """Interrupts the fit in the middle of the next epoch."""

    def report(progress: Progress) -> None:
        if progress.message.startswith(f"epoch {epochs + 1}/"):
            raise Broken

    return report


def first_epoch(folder: Path, **options: Any) -> list[Progress]:
    """The messages of a fit with the checkpoint `fit`, which ends after its first epoch."""
    said: list[Progress] = []

    def report(progress: Progress) -> None:
        said.append(progress)
        if epochs_told(said):
            raise Broken

    with pytest.raises(Broken):
        train("lstm", folder, file=folder / "fit", report=report, **options)
    return said


def same(one: TrainedModel, other: TrainedModel) -> None:
    assert one.history == other.history
    texts = part(20, 9).texts
    np.testing.assert_allclose(one.predict_proba(texts), other.predict_proba(texts), rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """An uninterrupted fit of the LSTM and its checkpoint, for each validation part. Every fit costs 4 s, so tests share it."""

    @cache
    def fit(contradicting: bool) -> tuple[TrainedModel, Path]:
        folder = tmp_path_factory.mktemp("finished")
        return train("lstm", folder, file=folder / "fit", contradicting=contradicting), folder / "fit"

    return fit


def is_past(model: TrainedModel) -> bool:
    """Whether the best epoch is not the last one."""
    losses = [epoch["val_loss"] for epoch in model.history]
    return losses[-1] > min(losses)


def test_an_interrupted_fit_of_the_lstm_gives_the_same_result(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The validation part contradicts it, so the fit ends with the weights of an early epoch.
    whole, _ = finished(True)
    assert is_past(whole)
    # The checkpoint has the weights of that epoch, so no copy is in memory.
    monkeypatch.setattr(keras.Model, "get_weights", None)
    with pytest.raises(Broken):
        train("lstm", tmp_path, file=tmp_path / "fit", report=break_after(3), contradicting=True)
    said: list[Progress] = []
    same(train("lstm", tmp_path, file=tmp_path / "fit", report=said.append, contradicting=True), whole)
    assert said[0] == Progress(message=f"continuing after epoch 3 of {EPOCHS}", fraction=3 / EPOCHS)
    assert epochs_told(said) == list(range(4, len(whole.history) + 1))


@pytest.mark.slow
def test_an_interrupted_fit_of_bert_gives_the_same_result_with_less_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train("pubmed_bert", tmp_path, file=None, contradicting=True)
    assert is_past(whole)
    with pytest.raises(Broken):
        train("pubmed_bert", tmp_path, file=tmp_path / "fit", report=break_after(2), contradicting=True)
    monkeypatch.setattr(_keras, "device", lambda: SMALL)
    said: list[Progress] = []
    resumed = train("pubmed_bert", tmp_path, file=tmp_path / "fit", report=said.append, contradicting=True)
    same(resumed, whole)
    # The checkpoint decides, and not the memory.
    assert resumed.compute["micro_batch"] == 16
    assert said[0] == Progress(message=f"continuing after epoch 2 of {EPOCHS}", fraction=2 / EPOCHS)
    assert epochs_told(said) == list(range(3, len(whole.history) + 1))


@pytest.mark.slow
def test_a_fit_with_two_interruptions_gives_the_same_result(finished: Finished, tmp_path: Path) -> None:
    whole, _ = finished(False)
    assert not is_past(whole)
    for done in (1, 3):
        with pytest.raises(Broken):
            train("lstm", tmp_path, file=tmp_path / "fit", report=break_after(done))
    same(train("lstm", tmp_path, file=tmp_path / "fit"), whole)


def test_a_completed_fit_is_not_repeated(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, file = finished(True)
    monkeypatch.setattr(keras.Model, "fit", None)
    same(train("lstm", tmp_path, file=Path(shutil.copy(file, tmp_path)), contradicting=True), whole)


def test_a_checkpoint_of_other_data_is_not_continued(finished: Finished, tmp_path: Path) -> None:
    shutil.copy(finished(False)[1], tmp_path)
    said = first_epoch(tmp_path, rows=34)
    assert said[0] == Progress(message="the checkpoint belongs to another training: starting from the first epoch", warning=True)
    assert epochs_told(said) == [1]


def test_a_damaged_checkpoint_is_not_continued(finished: Finished, tmp_path: Path) -> None:
    content = finished(False)[1].read_bytes()
    for damage in (content[:-9], b"", b"no archive"):
        (tmp_path / "fit").write_bytes(damage)
        assert checkpoint.read(tmp_path / "fit") is None
    half = len(content) // 2
    (tmp_path / "fit").write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
    said = first_epoch(tmp_path)
    assert said[0].message.startswith("the checkpoint is damaged (Bad CRC-32 for file 'state")
    assert said[0].warning
    assert epochs_told(said) == [1]


def test_a_full_disk_prevents_the_checkpoint_and_not_the_fit(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = finished(True)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_save", full)
    said: list[Progress] = []
    # It ends with the weights of the best epoch too, which no file has.
    same(train("lstm", tmp_path, file=tmp_path / "fit", report=said.append, contradicting=True), whole)
    assert [progress.message for progress in said if progress.warning] == [
        f"cannot write the checkpoint after epoch {epoch}: [Errno 28] No space left on device" for epoch in range(1, len(whole.history) + 1)
    ]
    assert not list(tmp_path.glob("fit*"))


def test_a_planted_pickle_is_a_damaged_checkpoint_and_not_read(tmp_path: Path) -> None:
    file, effect = tmp_path / "fit.npz", tmp_path / "effect"
    planted = np.array([Payload(effect)], dtype=object)
    for write in (lambda: np.savez(file, reached=planted, state00000=planted), lambda: file.write_bytes(pickle.dumps(Payload(effect)))):
        write()
        assert checkpoint.read(file) is None
        with pytest.raises(checkpoint.CorruptCheckpoint):
            checkpoint.restore(file, None)
    assert not effect.exists()


def test_the_best_weights_are_written_once(finished: Finished) -> None:
    """After the best epoch, the weights of the model are the best weights."""
    counts = {}
    for name, contradicting in (("best is last", False), ("best is past", True)):
        _, file = finished(contradicting)
        reached = checkpoint.read(file)
        assert reached is not None
        assert (reached.best_epoch + 1 == len(reached.epochs)) is not contradicting
        with np.load(file) as stored:
            counts[name] = sum(key.startswith("best") for key in stored)
    assert counts == {"best is last": 0, "best is past": 6}


LAYERS, WIDTH = 20, 256


def wide_network() -> keras.Model:
    """A compiled network of 20 equal arrays, which nothing trains."""
    hidden = inputs = keras.Input((WIDTH,))
    for _ in range(LAYERS):
        hidden = keras.layers.Dense(WIDTH, use_bias=False)(hidden)
    model = keras.Model(inputs, hidden)
    model.compile(optimizer=_keras.Adam(), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def after(epochs: int) -> CheckpointState:
    """The state after this number of epochs. The first one is the best."""
    losses = tuple({"val_loss": float(epoch)} for epoch in range(1, epochs + 1))
    return CheckpointState(fingerprint="", micro_batch=1, epochs=losses, best=1.0, best_epoch=0, wait=epochs - 1, ended=False)


def test_a_checkpoint_has_only_a_few_arrays_in_memory(tmp_path: Path) -> None:
    model, file = wide_network(), tmp_path / "fit"
    best = model.get_weights()

    def peak(work: Callable[..., None], *arguments: object) -> int:
        """The most bytes of NumPy during the work."""
        tracemalloc.start()
        try:
            work(*arguments)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peaks = [peak(checkpoint.write, file, after(1), model)]
    for epoch in (2, 3):
        for variable in model.weights:
            variable.assign(variable + 1)
        # The best weights come from the previous file: first from those of the model, then from the best ones.
        peaks.append(peak(checkpoint.write, file, after(epoch), model))
    last = model.get_weights()
    other = wide_network()
    peaks.append(peak(checkpoint.restore, file, other))
    assert all(map(np.array_equal, other.get_weights(), last))
    peaks.append(peak(checkpoint.restore_best, file, other))
    assert all(map(np.array_equal, other.get_weights(), best))
    assert max(peaks) < 0.4 * sum(weights.nbytes for weights in best)


def test_a_checkpoint_copies_no_variable() -> None:
    variable = keras.Variable(np.arange(2**20, dtype=np.float32))
    tracemalloc.start()
    try:
        stored = np.asanyarray(checkpoint._Variable(variable))
        assert tracemalloc.get_traced_memory()[1] < stored.nbytes / 2
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(stored, np.arange(2**20, dtype=np.float32))


def test_a_damaged_file_with_the_best_weights_is_an_error(tmp_path: Path) -> None:
    model, file = wide_network(), tmp_path / "fit"
    checkpoint.write(file, after(1), model)
    content = bytearray(file.read_bytes())
    content[5 * WIDTH * WIDTH] ^= 1
    file.write_bytes(content)
    with pytest.raises(DamagedFile) as caught:
        checkpoint.restore_best(file, model)
    assert str(caught.value).startswith(f"{file} does not hold the weights of the best epoch: Bad CRC-32 for file 'state")
    assert str(caught.value).endswith("; check the disk, and train again")
    with pytest.raises(checkpoint.CorruptCheckpoint, match="Bad CRC-32"):
        checkpoint.write(file, after(2), model)
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("micro_batch", "used"), [(None, 1), pytest.param(6, 6, marks=pytest.mark.slow)])
def test_micro_batches_give_the_update_of_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_batch: int | None, used: int
) -> None:
    def fit(micro_batch: int | None) -> TrainedModel:
        # 35 examples give a last batch of 3.
        return train("pubmed_bert", tmp_path, file=None, **NO_DROPOUT, learning_rate=0.0001, epochs=1, micro_batch=micro_batch)

    whole = fit(16)
    monkeypatch.setattr(_keras, "device", lambda: SMALL)
    model = fit(micro_batch)
    assert (whole.compute["micro_batch"], model.compute["micro_batch"]) == (16, used)
    for part, expected in zip(model._network.get_weights(), whole._network.get_weights(), strict=True):  # type: ignore[attr-defined]
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-5)
    losses = [[epoch["val_loss"] for epoch in found.history] for found in (model, whole)]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_an_interrupted_fit_with_micro_batches_continues(tmp_path: Path) -> None:
    whole = train("pubmed_bert", tmp_path, file=None, micro_batch=4)
    with pytest.raises(Broken):
        train("pubmed_bert", tmp_path, file=tmp_path / "fit", micro_batch=4, report=break_after(2))
    same(train("pubmed_bert", tmp_path, file=tmp_path / "fit", micro_batch=4), whole)


@pytest.mark.slow
def test_padding_to_the_full_length_gives_the_same_result(tmp_path: Path) -> None:
    longest, full = (
        train("pubmed_bert", tmp_path, file=None, **NO_DROPOUT, learning_rate=0.001, max_length=400, padding=padding)
        for padding in ("longest", "max_length")
    )
    losses = [[epoch["val_loss"] for epoch in model.history] for model in (longest, full)]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-4)


def epochs_told(said: list[Progress]) -> list[int | None]:
    return [progress.epoch for progress in said if "val_loss" in progress.figures]


@pytest.mark.parametrize("algorithm", ["pubmed_bert", "lstm"])
def test_weights_and_optimiser_are_freed_with_their_model(algorithm: Algorithm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimisers: list[weakref.ref[Any]] = []
    adam = _keras.Adam

    def made(*arguments: Any, **options: Any) -> Any:
        optimiser = adam(*arguments, **options)
        optimisers.append(weakref.ref(optimiser))
        return optimiser

    monkeypatch.setattr(_keras, "Adam", made)
    model = train(algorithm, tmp_path, file=tmp_path / "fit", epochs=1)
    weights = [weakref.ref(weight.value) for weight in model._network.weights]  # type: ignore[attr-defined]
    del model
    _keras.prepare(threads=1)
    assert [optimiser() for optimiser in optimisers] == [None]
    assert [weight() is None for weight in weights] == [True] * len(weights)
