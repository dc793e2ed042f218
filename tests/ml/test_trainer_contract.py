"""The contract of a trainer, tested with all three trainers and models of a few weights."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from gregory.ml.config import ALGORITHMS, Algorithm, BertConfig, Hyperparameters, LgbmConfig, LstmConfig
from gregory.ml.dataset import Example
from gregory.ml.progress import Progress
from gregory.ml.registry import trainer_class
from gregory.ml.split import Part, Split
from gregory.ml.trainers.base import TrainedModel, TrainerContext
from tests.ml.model_files import FILES
from tests.ml.tiny_models import IRRELEVANT, NEUTRAL, RELEVANT, tiny_encoder

HYPERPARAMETERS = Hyperparameters(
    bert=BertConfig(epochs=2, dense_units=4, learning_rate=0.01),
    lgbm=LgbmConfig(rounds=25),
    lstm=LstmConfig(epochs=2, embedding_dim=4, units=2),
)


class Forbidden:
    """A part that records and refuses every access."""

    def __init__(self, looks: list[str]) -> None:
        object.__setattr__(self, "looks", looks)

    def __getattribute__(self, name: str) -> object:
        object.__getattribute__(self, "looks").append(name)
        raise AssertionError(f"the test part's {name} was read")


@dataclass(frozen=True, kw_only=True)
class Fitted:
    algorithm: Algorithm
    model: TrainedModel
    said: list[Progress]
    looks: list[str]
    encoder_dir: Path


def part(count: int, seed: int) -> Part:
    """Distinct texts of different lengths. Their words determine the label."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        words = RELEVANT if index % 2 else IRRELEVANT
        text = generator.choice([*words, *NEUTRAL], size=3 + index % 29)
        rows.append(Example(article_id=index, text=" ".join(text), label=index % 2))
    return Part.of(rows)


def fit(algorithm: Algorithm, encoder_dir: Path, *, looks: list[str], said: list[Progress]) -> TrainedModel:
    # 35 and 17 examples give a short last batch for the batch sizes 16 and 32.
    split = Split(train=part(35, 1), validation=part(17, 2), test=cast(Part, Forbidden(looks)))
    trainer = trainer_class(algorithm)(HYPERPARAMETERS, TrainerContext(encoder_dir=encoder_dir, threads=1, seed=69))
    return trainer.fit(split, report=said.append)


@pytest.fixture(scope="module", params=ALGORITHMS)
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    looks: list[str] = []
    said: list[Progress] = []
    encoder_dir = tiny_encoder(tmp_path_factory.mktemp("encoder"))
    model = fit(request.param, encoder_dir, looks=looks, said=said)
    return Fitted(algorithm=request.param, model=model, said=said, looks=looks, encoder_dir=encoder_dir)


def test_one_probability_per_text(fitted: Fitted) -> None:
    probabilities = fitted.model.predict_proba(part(41, 3).texts)
    assert probabilities.shape == (41,)
    assert probabilities.dtype == np.float64
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_probabilities_belong_to_their_texts_in_any_order(fitted: Fitted) -> None:
    texts = np.array(part(41, 3).texts)
    order = np.random.default_rng(0).permutation(len(texts))
    straight = fitted.model.predict_proba(list(texts))
    assert len(set(straight)) > 1
    np.testing.assert_array_equal(fitted.model.predict_proba(list(texts[order])), straight[order])


def test_no_text_gives_no_probability(fitted: Fitted) -> None:
    assert fitted.model.predict_proba([]).shape == (0,)


@pytest.mark.parametrize("text", ["", "!?", "[PAD] [UNK]", "zyxwv", "myelin " * 2000])
def test_any_text_gets_a_probability(fitted: Fitted, text: str) -> None:
    assert 0 <= fitted.model.predict_proba([text])[0] <= 1


def test_saved_files_have_the_names_of_the_specification(fitted: Fitted, tmp_path: Path) -> None:
    fitted.model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES[fitted.algorithm]


def test_two_saves_are_the_same_bytes(fitted: Fitted, tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        fitted.model.save(folder)
        contents.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
        fitted.model.predict_proba(["myelin", "tax in the harvest"])
    assert contents[0] == contents[1]


def test_a_model_loaded_from_its_folder_has_equal_probabilities(fitted: Fitted, tmp_path: Path) -> None:
    texts = [*part(41, 3).texts, "", "unseen words only"]
    saved = tmp_path / "saved"
    saved.mkdir()
    fitted.model.save(saved)
    moved = shutil.move(saved, tmp_path / "elsewhere")
    hidden = fitted.encoder_dir.rename(fitted.encoder_dir.with_name("hidden"))
    try:
        loaded = trainer_class(fitted.algorithm).model_class.load(moved, threads=1)
    finally:
        hidden.rename(fitted.encoder_dir)
    np.testing.assert_array_equal(loaded.predict_proba(texts), fitted.model.predict_proba(texts))
    assert loaded.history == []


def test_the_history_has_finite_losses(fitted: Fitted) -> None:
    assert len(fitted.model.history) == {"pubmed_bert": 2, "lgbm_tfidf": 25, "lstm": 2}[fitted.algorithm]
    for figures in fitted.model.history:
        assert set(figures) == {"loss", "val_loss"}
        assert np.isfinite(list(figures.values())).all()


def test_the_fraction_rises_to_one(fitted: Fitted) -> None:
    fractions = [progress.fraction for progress in fitted.said]
    assert len(fractions) >= 2
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_the_test_part_is_never_read(fitted: Fitted) -> None:
    assert fitted.looks == []


def test_the_same_fit_twice_gives_equal_probabilities(fitted: Fitted) -> None:
    texts = part(41, 3).texts
    again = fit(fitted.algorithm, fitted.encoder_dir, looks=[], said=[])
    np.testing.assert_allclose(again.predict_proba(texts), fitted.model.predict_proba(texts), rtol=0, atol=1e-6)


def test_fit_returns_a_model_of_the_class_of_the_trainer(fitted: Fitted) -> None:
    assert type(fitted.model) is trainer_class(fitted.algorithm).model_class
