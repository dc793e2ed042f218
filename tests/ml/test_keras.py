from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from gregory.ml import _keras
from gregory.ml._keras import batching, keras, training_loop
from gregory.ml._keras.batching import micro_batches, training_batches, validation_batches
from gregory.ml.errors import ArtifactError, MemoryExhausted
from gregory.ml.progress import Progress, silent
from images import check
from tools import gpu_check


def lengths(count: int) -> list[int]:
    return [int(length) for length in np.random.default_rng(3).integers(1, 400, count)]


def network(width: int = 3) -> keras.Model:
    """Token ids -> two probabilities. The network is so small that a fit takes less than a second."""
    ids = keras.Input((None,), dtype="int32")
    hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(10, width, name="embedding")(ids))
    model = keras.Model(ids, keras.layers.Dense(2, activation="softmax", name="dense")(hidden), name="tiny")
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="categorical_crossentropy", jit_compile=False)
    return model


def encoded(count: int, *, swapped: bool = False) -> _keras.Encoded:
    labels = np.arange(count) % 2
    return _keras.Encoded(
        token_ids=[[2 + label] * (1 + index % 11) for index, label in enumerate(labels)],
        targets=np.eye(2, dtype=np.float32)[1 - labels if swapped else labels],
    )


def fit(model: keras.Model, *, epochs: int = 2, patience: int = 3, swapped: bool = False, report=silent) -> list[dict[str, float]]:
    schedule = _keras.Schedule(epochs=epochs, batch_size=4, patience=patience)
    return _keras.fit(model, train=encoded(18), validation=encoded(7, swapped=swapped), schedule=schedule, seed=1, report=report)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 300])
def test_every_sequence_is_in_one_batch(count: int, shuffled: bool) -> None:
    batches = _keras.batch_plan(lengths(count), 16, np.random.default_rng(0) if shuffled else None)
    assert len(batches) == -(-count // 16)
    assert max(len(batch) for batch in batches) <= 16
    assert sorted(np.concatenate(batches)) == list(range(count))


def test_a_shuffled_plan_needs_little_padding() -> None:
    sizes = np.array(lengths(640))
    buckets = _keras.batch_plan(sizes.tolist(), 16, np.random.default_rng(0))
    chance = np.split(np.random.default_rng(0).permutation(640), 40)
    padded, by_chance = (sum(sizes[batch].max() * len(batch) for batch in plan) for plan in (buckets, chance))
    assert padded < 1.15 * sizes.sum() < 1.6 * sizes.sum() < by_chance


def test_each_pass_has_its_own_repeatable_order() -> None:
    plans = [_keras.batch_plan(lengths(64), 16, np.random.default_rng([69, index])) for index in (0, 1, 0)]
    first, second, again = (np.concatenate(plan).tolist() for plan in plans)
    assert first == again
    assert first != second


def test_shuffling_ignores_the_global_generator() -> None:
    rows = []
    for seed in (1, 2):
        np.random.seed(seed)
        feed = training_batches(encoded(18), batch_size=4, pieces=1, length=None, seed=5, epoch=lambda: 0)
        rows.append([ids.numpy().tolist() for ids, _, _ in feed])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("gpus", "width"), [([], 9), (["GPU:0"], 16)])
def test_pads_on_the_right_to_the_longest_and_for_a_gpu_to_a_multiple_of_eight(
    monkeypatch: pytest.MonkeyPatch, gpus: list[str], width: int
) -> None:
    monkeypatch.setattr(_keras.tf.config, "list_physical_devices", lambda kind: gpus)
    padded = _keras.pad([[5, 6, 7], list(range(1, 10))])
    assert padded.dtype == np.int32
    assert padded.tolist() == [[5, 6, 7, *[0] * (width - 3)], [*range(1, 10), *[0] * (width - 9)]]
    assert _keras.pad([[5, 6]], length=4).tolist() == [[5, 6, 0, 0]]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 15, 16])
@pytest.mark.parametrize("count", [1, 2, 4, 16])
def test_the_weighted_mean_over_micro_batches_is_the_mean_over_the_batch(rows: int, count: int) -> None:
    batch = np.random.default_rng(rows).permutation(40)[:rows]
    losses = np.random.default_rng(7).random(40)
    pieces = micro_batches(batch, count)
    assert len(pieces) == count
    assert np.mean([(losses[piece] * weight).mean() for piece, weight in pieces]) == pytest.approx(losses[batch].mean())


def test_each_epoch_has_its_own_order() -> None:
    epoch = 0
    feed = training_batches(encoded(18), batch_size=4, pieces=2, length=16, seed=5, epoch=lambda: epoch)
    first, again = ([targets.numpy().tolist() for _, targets, _ in feed] for _ in range(2))
    epoch = 1
    assert first == again != [targets.numpy().tolist() for _, targets, _ in feed]
    assert {ids.shape[1] for ids, _, _ in feed} == {16}


def test_each_pass_returns_free_memory_when_its_first_batch_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    returned: list[str] = []
    monkeypatch.setattr(batching, "return_free_memory", lambda: returned.append("now"))
    feeds = [
        training_batches(encoded(18), batch_size=4, pieces=2, length=16, seed=5, epoch=lambda: 0),
        validation_batches(encoded(18), batch_size=4, length=16),
    ]
    for passes, feed in enumerate(feeds):
        iterator = iter(feed)
        assert len(returned) == passes
        assert list(iterator)
    assert len(returned) == len(feeds)


def test_fit_learns_and_returns_one_dict_per_epoch() -> None:
    model = network()
    history = fit(model, epochs=12)
    assert len(history) == 12
    assert history[-1]["val_loss"] < 0.5 * history[0]["val_loss"]
    probabilities = _keras.Predictor(model).predict([[2, 2], [3]], batch_size=4)
    assert probabilities.argmax(axis=1).tolist() == [0, 1]


def test_fit_stops_early_and_restores_the_best_epoch() -> None:
    model = network()
    said: list[Progress] = []
    # The validation part contradicts the training part, so the validation loss can only rise.
    history = fit(model, epochs=10, patience=2, swapped=True, report=said.append)
    assert len(history) == 3
    assert said[-1] == Progress(message="restored the weights of epoch 1 of 3", fraction=1.0)
    held = encoded(7, swapped=True)
    outputs = _keras.Predictor(model).predict(held.token_ids, batch_size=4)
    assert -np.log((outputs * held.targets).sum(axis=1)).mean() == pytest.approx(history[0]["val_loss"], rel=1e-5)


def test_fit_reports_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    # A slow machine reports the steps of a long epoch too.
    monkeypatch.setattr(training_loop, "_SECONDS_BETWEEN_STEPS", float("inf"))
    said: list[Progress] = []
    history = fit(network(), report=said.append)
    first = history[0]
    assert said[0] == Progress(
        message=f"epoch 1/2 loss {first['loss']:.4f} val_loss {first['val_loss']:.4f}", fraction=0.5, epoch=1, figures=first
    )
    assert [progress.fraction for progress in said] == [0.5, 1.0, 1.0]


def test_fit_reports_steps_of_a_long_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_loop, "_SECONDS_BETWEEN_STEPS", 0.0)
    said: list[Progress] = []
    fit(network(), report=said.append)
    steps = [progress for progress in said if "step" in progress.message]
    assert [progress.fraction for progress in steps] == [step / 10 for step in range(1, 11)]
    assert steps[6].message == f"epoch 2/2 step 2/5 loss {steps[6].figures['loss']:.4f}"


def test_predictions_are_in_the_order_of_the_texts() -> None:
    model = network()
    # The average of this network includes padding. Batches of four texts of equal length have no padding.
    sequences = [[1 + index % 9] * (1 + index % 6) for index in range(24)]
    together = _keras.Predictor(model).predict(sequences, batch_size=4)
    alone = np.concatenate([_keras.Predictor(model).predict([sequence], batch_size=1) for sequence in sequences])
    assert together.shape == (24, 2)
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_fit_traces_the_training_step_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    # The variables of this optimiser do not exist before its first step, unless the fit makes them.
    model.compile(optimizer=_keras.Adam(), loss="categorical_crossentropy", jit_compile=False)
    traces, step = [], model.train_step
    monkeypatch.setattr(model, "train_step", lambda data: (traces.append("one"), step(data))[1])
    fit(model)
    assert traces == ["one"]


@pytest.mark.parametrize("pieces", [None, 3])
def test_adam_makes_the_same_updates_as_that_of_keras(pieces: int | None) -> None:
    numbers = np.random.default_rng(3).normal(size=(12, 4)).astype(np.float32)

    def trained(kind: type[keras.optimizers.Optimizer]) -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(3)(inputs)))
        model.compile(optimizer=kind(0.1, gradient_accumulation_steps=pieces), loss="mse", jit_compile=False)
        model.fit(numbers, numbers[:, :2], batch_size=2, epochs=3, shuffle=False, verbose=0)
        return [np.asarray(variable) for variable in [*model.variables, *model.optimizer.variables]]

    for mine, theirs in zip(trained(_keras.Adam), trained(keras.optimizers.Adam), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


def test_predictor_traces_once(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = _keras.Predictor(network())
    for length in (1, 9, 17, 30):
        predictor.predict([[1] * length] * length, batch_size=4)
    assert predictor._call.experimental_get_tracing_count() == 1


def test_weight_files_have_the_given_name_and_no_optimiser(tmp_path: Path) -> None:
    model = network()
    fit(model)
    _keras.save_weights(model, tmp_path / "some_weights.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["some_weights.h5"]
    assert b"optimizer" not in (tmp_path / "some_weights.h5").read_bytes()
    other = network()
    _keras.load_weights(other, tmp_path / "some_weights.h5")
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.parametrize("damage", ["shape", "content", "absence"])
def test_weights_of_another_network_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "some_weights.h5"
    if damage == "shape":
        _keras.save_weights(network(width=4), path)
    if damage == "content":
        path.write_bytes(b"not HDF5")
    with pytest.raises(ArtifactError) as caught:
        _keras.load_weights(network(), path)
    assert str(caught.value).startswith(f"{path} does not hold the weights of this network: ")
    assert str(caught.value).endswith("; train the model again")


def test_exhausted_memory_is_translated_in_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    monkeypatch.setattr(model, "fit", exhausted)
    with pytest.raises(MemoryExhausted) as caught:
        fit(model)
    assert (
        str(caught.value)
        == "TensorFlow ran out of memory (OOM when allocating a tensor); give the run more memory, or lower the batch size"
    )


def test_exhausted_memory_is_translated_in_predict(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = _keras.Predictor(network())
    monkeypatch.setattr(predictor, "_call", exhausted)
    with pytest.raises(MemoryExhausted):
        predictor.predict([[1]], batch_size=1)


def exhausted(*arguments: object, **options: object) -> None:
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating a tensor\n\t[[node dense]]")


def test_a_training_computes_float32_without_shortened_factors() -> None:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    _keras.prepare(threads=1)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.slow
def test_the_check_of_a_gpu_finds_none_here_and_measures_on_any_device(capsys: pytest.CaptureFixture[str]) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    assert gpu_check.main() == 1
    assert "NoGpu: this run requires a GPU" in gpu_check.error_without_gpu()
    assert capsys.readouterr().out.startswith("nothing is measured: this run requires a GPU, but TensorFlow, built with")
    measured = gpu_check.measure("CPU", size=64, layers=1)
    assert [(each.computation, each.way) for each in measured] == [
        ("product", "TF32"), ("[CLS] of BERT", "TF32"), ("product", "training"), ("[CLS] of BERT", "training"),
    ]  # fmt: skip
    assert gpu_check.problems(measured) == []


def test_the_check_of_a_gpu_works_with_small_models_on_any_device() -> None:
    works = [gpu_check.summarise(gpu_check.SMALL, new_tokens=8), gpu_check.train(gpu_check.SMALL)]

    assert [each.name for each in works] == ["2 summaries of 8 tokens", "BERT, one step and its validation, 16 x 20"]
    assert all(each.seconds > 0 and each.host_bytes > 2**20 and each.compute for each in works)


def test_tensorflow_would_find_no_gpu_without_its_libraries() -> None:
    """The environment of the tests has none. The build of the image `train` asks the same loader."""
    assert not check.tensorflow_opens_its_libraries()


def test_a_gpu_that_shortens_the_factors_of_a_training_is_a_problem() -> None:
    measured = [
        gpu_check.Measured(computation="product", way=way, difference=difference, seconds=0.1)
        for way, difference in (("TF32", 1e-3), ("training", 1e-3), ("training", 1e-6))
    ]
    assert gpu_check.problems(measured) == ["product: a training differs by 1.0e-03, more than 1e-05: TF32 is in use"]
