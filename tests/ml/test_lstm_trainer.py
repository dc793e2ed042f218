import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gregory.ml import _keras
from gregory.ml._keras import keras
from gregory.ml.config import Hyperparameters, LstmConfig
from gregory.ml.dataset import Example
from gregory.ml.progress import silent
from gregory.ml.split import Part, Split
from gregory.ml.trainers.base import TrainerContext
from gregory.ml.trainers.lstm import LstmModel, LstmTrainer, encode, train_tokenizer
from tests.ml.tiny_models import IRRELEVANT, NEUTRAL, RELEVANT

ROOT = Path(__file__).parents[2]
TINY = LstmConfig(epochs=2, embedding_dim=4, units=3)
ASKED = ["a new lesion", "the tax", "", "myelin in the study of relapse"]
Fit = dict[str, Any]


def part(count: int, seed: int) -> Part:
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        text = " ".join(generator.choice([*(RELEVANT if index % 2 else IRRELEVANT), *NEUTRAL], size=3 + index % 7))
        rows.append(Example(article_id=index, text=text, label=index % 2))
    return Part.of(rows)


def train(config: LstmConfig) -> LstmModel:
    split = Split(train=part(40, 1), validation=part(12, 2), test=part(0, 3))
    context = TrainerContext(encoder_dir=Path("nowhere"), threads=1, seed=69)
    return LstmTrainer(Hyperparameters(lstm=config), context).fit(split, report=silent)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Callable[[LstmConfig], Fit]:
    """Arguments of the call that fits the network."""

    def build(config: LstmConfig) -> Fit:
        seen: Fit = {}

        def fit(model: keras.Model, **options: object) -> list[dict[str, float]]:
            seen.update(options, model=model)
            return []

        monkeypatch.setattr(_keras, "fit", fit)
        seen["trained"] = train(config)
        return seen

    return build


def test_words_are_lower_case_without_punctuation() -> None:
    vocabulary = train_tokenizer(["Relapse, relapse! (MS) well-known", "it's [x]_y"], 100).get_vocab()
    assert set(vocabulary) == {"[PAD]", "[UNK]", "relapse", "ms", "wellknown", "its", "xy"}
    assert (vocabulary["[PAD]"], vocabulary["[UNK]"], vocabulary["relapse"]) == (0, 1, 2)


def test_the_vocabulary_is_capped_at_the_most_frequent_words() -> None:
    tokenizer = train_tokenizer(["a a a b b c"], 4)
    assert tokenizer.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "a": 2, "b": 3}
    assert encode(tokenizer, ["c b a"], 512) == [[1, 3, 2]]


@pytest.mark.parametrize(("text", "ids"), [("", [1]), ("?!", [1]), ("[PAD]", [1]), ("a [PAD] a", [2, 1, 2]), ("A. a, b", [2, 2])])
def test_no_text_encodes_to_padding(text: str, ids: list[int]) -> None:
    assert encode(train_tokenizer(["a a"], 100), [text], 2 if "b" in text else 512) == [ids]


def test_long_texts_are_cut() -> None:
    assert encode(train_tokenizer(["a"], 100), ["a " * 600], 512) == [[2] * 512]


def test_the_network_of_the_specification(built: Callable[[LstmConfig], Fit]) -> None:
    model = built(LstmConfig())["model"]
    embedding, lstm, dropout, dense = model.layers[-4:]
    vocabulary = len(RELEVANT) + len(IRRELEVANT) + len(NEUTRAL) + 2
    assert (embedding.input_dim, embedding.output_dim, embedding.mask_zero) == (vocabulary, 200, True)
    assert (type(embedding.embeddings_initializer).__name__, embedding.embeddings_initializer.seed) == ("GlorotUniform", 42)
    assert embedding.embeddings_regularizer is None
    assert (type(lstm).__name__, lstm.units, lstm.return_sequences) == ("LSTM", 32, False)
    assert type(lstm.kernel_initializer).__name__ == "GlorotUniform"
    assert type(lstm.recurrent_initializer).__name__ == "Orthogonal"
    assert (lstm.kernel_initializer.seed, lstm.recurrent_initializer.seed) == (42, 42)
    assert [float(layer.l2) for layer in (lstm.kernel_regularizer, lstm.recurrent_regularizer, dense.kernel_regularizer)] == [0.01] * 3
    assert (dropout.rate, dropout.seed) == (0.5, 42)
    assert (dense.units, dense.activation.__name__, dense.kernel_initializer.seed) == (1, "sigmoid", 42)
    assert (type(model.optimizer).__name__, float(model.optimizer.learning_rate), model.loss) == (
        "Adam",
        pytest.approx(0.001),
        "binary_crossentropy",
    )
    assert model.jit_compile is False


def test_the_schedule_of_the_specification(built: Callable[[LstmConfig], Fit]) -> None:
    seen = built(LstmConfig())
    assert seen["schedule"] == _keras.Schedule(epochs=10, batch_size=32, patience=3, start_from_epoch=3)
    assert seen["seed"] == 69
    assert seen["train"].targets.shape == (40, 1)
    assert seen["train"].targets.ravel().tolist() == part(40, 1).labels.tolist()
    assert len(seen["validation"].token_ids) == 12


def test_layers_directions_and_penalties_have_an_effect(built: Callable[[LstmConfig], Fit]) -> None:
    config = LstmConfig(embedding_dim=4, units=3, layers=2, bidirectional=True, embedding_l2=0.02, kernel_l2=0.0)
    layers = built(config)["model"].layers
    assert [layer.name for layer in layers[1:]] == ["embedding", "bidirectional_0", "bidirectional_1", "dropout", "probability"]
    assert float(layers[1].embeddings_regularizer.l2) == pytest.approx(0.02)
    assert layers[2].forward_layer.kernel_regularizer is None
    assert layers[2].backward_layer.units == 3


def test_two_bidirectional_layers_are_equal_after_saving_and_loading(built: Callable[[LstmConfig], Fit], tmp_path: Path) -> None:
    model = built(LstmConfig(embedding_dim=4, units=2, layers=2, bidirectional=True))["trained"]
    model.save(tmp_path)
    np.testing.assert_array_equal(LstmModel.load(tmp_path, threads=1).predict_proba(ASKED), model.predict_proba(ASKED))


def test_the_words_come_from_the_training_part_only(tmp_path: Path, built: Callable[[LstmConfig], Fit]) -> None:
    built(TINY)
    unseen = Part(article_ids=(1,), texts=("unseen",), labels=np.array([1], dtype=np.int8))
    split = Split(train=part(40, 1), validation=unseen, test=part(0, 3))
    context = TrainerContext(encoder_dir=Path("nowhere"), threads=1, seed=69)
    LstmTrainer(Hyperparameters(lstm=TINY), context).fit(split, report=silent).save(tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert set(vocabulary) == {"[PAD]", "[UNK]", *RELEVANT, *IRRELEVANT, *(word.strip("#") for word in NEUTRAL)}


def test_the_whole_shape_is_saved(tmp_path: Path, built: Callable[[LstmConfig], Fit]) -> None:
    config = LstmConfig(embedding_dim=4, units=3, embedding_l2=0.02)
    split = Split(train=part(40, 1), validation=part(12, 2), test=part(0, 3))
    built(config)
    LstmTrainer(Hyperparameters(lstm=config), TrainerContext(encoder_dir=Path("nowhere"), threads=1, seed=69)).fit(
        split, report=silent
    ).save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text()) == config.model_dump()


def test_the_model_learns_typical_words() -> None:
    model = train(LstmConfig(epochs=10, embedding_dim=64, units=16, batch_size=2, dropout=0.0))
    relevant, irrelevant = model.predict_proba([" ".join(RELEVANT), " ".join(IRRELEVANT)])
    assert relevant > 0.8
    assert irrelevant < 0.2


@pytest.mark.slow
def test_another_process_fits_the_same_model() -> None:
    code = "import json; from tests.ml.test_lstm_trainer import *;print(json.dumps(train(TINY).predict_proba(ASKED).tolist()))"
    environment = {**os.environ, "PYTHONHASHSEED": "5", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    np.testing.assert_allclose(json.loads(done.stdout), train(TINY).predict_proba(ASKED), rtol=0, atol=1e-6)
