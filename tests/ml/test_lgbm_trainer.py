import os
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import lightgbm
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from gregory.ml.config import Hyperparameters, LgbmConfig
from gregory.ml.dataset import Example
from gregory.ml.errors import DataError, MemoryExhausted
from gregory.ml.progress import Progress, silent
from gregory.ml.split import Part, Split
from gregory.ml.trainers import lgbm
from gregory.ml.trainers.base import TrainerContext
from gregory.ml.trainers.lgbm import LgbmModel, LgbmTrainer
from tests.ml.model_files import FILES
from tests.ml.tiny_models import IRRELEVANT, NEUTRAL, RELEVANT


def part(count: int, seed: int) -> Part:
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        text = " ".join(generator.choice([*(RELEVANT if index % 2 else IRRELEVANT), *NEUTRAL], size=8))
        rows.append(Example(article_id=index, text=text, label=index % 2))
    return Part.of(rows)


SPLIT = Split(train=part(60, 1), validation=part(20, 2), test=part(0, 3))


def fit(split: Split = SPLIT, *, rounds: int = 25, threads: int = 1, said: list[Progress] | None = None) -> LgbmModel:
    context = TrainerContext(encoder_dir=Path("nowhere"), threads=threads, seed=69)
    trainer = LgbmTrainer(Hyperparameters(lgbm=LgbmConfig(rounds=rounds)), context)
    return trainer.fit(split, report=silent if said is None else said.append)


def classifier_of(model: LgbmModel) -> lightgbm.LGBMClassifier:
    return cast(lightgbm.LGBMClassifier, model._classifier)


def test_uses_the_parameters_of_the_reference_class() -> None:
    parameters = classifier_of(fit(rounds=100, threads=1)).get_params()
    expected = {
        "n_estimators": 100,
        "colsample_bytree": 0.5527441519925319,
        "learning_rate": 0.05670501625777839,
        "max_depth": 13,
        "min_child_samples": 6,
        "num_leaves": 19,
        "reg_alpha": 0.028846140312283053,
        "reg_lambda": 0.5494358889794788,
        "subsample": 0.8310616529434425,
        "subsample_freq": 0,
        "random_state": 42,
        "class_weight": None,
        "n_jobs": 1,
    }
    assert {name: parameters[name] for name in expected} == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_run_twice_writes_the_same_bytes(tmp_path: Path, threads: int) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        fit(threads=threads).save(tmp_path / name)
    for file in FILES["lgbm_tfidf"]:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_the_number_of_threads_does_not_change_a_probability() -> None:
    texts = part(30, 4).texts
    np.testing.assert_array_equal(fit(threads=1).predict_proba(texts), fit(threads=2).predict_proba(texts))


def test_the_validation_part_does_not_change_the_trees() -> None:
    watched = classifier_of(fit())
    vectors = TfidfVectorizer().fit_transform(SPLIT.train.texts)
    alone = lightgbm.LGBMClassifier(**watched.get_params()).fit(vectors, SPLIT.train.labels)
    assert watched.booster_.num_trees() == 25
    assert watched.booster_.model_to_string() == alone.booster_.model_to_string()


def test_subsample_has_no_effect_without_its_frequency() -> None:
    config = Hyperparameters(lgbm=LgbmConfig(rounds=25, subsample=1.0))
    whole = LgbmTrainer(config, TrainerContext(encoder_dir=Path("nowhere"), threads=1, seed=69)).fit(SPLIT, report=silent)
    texts = part(30, 4).texts
    np.testing.assert_array_equal(whole.predict_proba(texts), fit().predict_proba(texts))


def test_the_probability_is_that_of_relevant() -> None:
    relevant, irrelevant = fit().predict_proba([" ".join(RELEVANT), " ".join(IRRELEVANT)])
    assert relevant > 0.7
    assert irrelevant < 0.3


def test_reports_every_tenth_round_and_the_last() -> None:
    said: list[Progress] = []
    model = fit(said=said)
    assert [(progress.epoch, progress.fraction) for progress in said] == [(10, 0.4), (20, 0.8), (25, 1.0)]
    last = model.history[-1]
    assert said[-1].figures == last
    assert said[-1].message == f"round 25/25 loss {last['loss']:.4f} val_loss {last['val_loss']:.4f}"


def test_lightgbm_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    fit()
    assert capfd.readouterr() == ("", "")


def test_loading_sets_the_threads_of_this_machine(tmp_path: Path) -> None:
    fit(threads=1).save(tmp_path)
    assert LgbmModel.load(tmp_path, threads=3)._threads == 3


def test_texts_without_words_are_a_data_error() -> None:
    no_words = Part(article_ids=(1, 2), texts=("! ?", ""), labels=np.array([0, 1], dtype=np.int8))
    with pytest.raises(DataError) as caught:
        fit(Split(train=no_words, validation=no_words, test=no_words))
    assert str(caught.value) == (
        "no word in the 2 training texts (empty vocabulary; perhaps the documents only contain stop words); check titles and abstracts"
    )


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (MemoryError(), "LightGBM ran out of memory; give the run more memory, or shorten the data window"),
        (
            lightgbm.basic.LightGBMError("std::bad_alloc"),
            "LightGBM ran out of memory (std::bad_alloc); give the run more memory, or shorten the data window",
        ),
    ],
)
def test_memory_errors_are_translated(monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str) -> None:
    monkeypatch.setattr(lightgbm.LGBMClassifier, "fit", raising(raised))
    with pytest.raises(MemoryExhausted) as caught:
        fit()
    assert str(caught.value) == message
    assert caught.value.__cause__ is raised


def test_other_errors_of_the_library_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    error = lightgbm.basic.LightGBMError("Check failed: num_data > 0")
    monkeypatch.setattr(lightgbm.LGBMClassifier, "fit", raising(error))
    with pytest.raises(lightgbm.basic.LightGBMError) as caught:
        fit()
    assert caught.value is error


def raising(error: Exception):
    def fit(*arguments: object, **options: object) -> None:
        raise error

    return fit


def test_trees_without_a_split_give_a_warning() -> None:
    few = fit(Split(train=part(11, 1), validation=part(20, 2), test=part(0, 3)))
    assert len(set(few.predict_proba(part(30, 4).texts))) == 1
    assert few.warnings == (
        "no tree of LightGBM has a split, so the model gives the same probability to every text: each side of a split needs "
        "lgbm.min_child_samples = 6 of the 11 training texts; label more articles, or lower that value",
    )
    assert fit().warnings == ()


@pytest.mark.parametrize(("rows", "threads"), [(827, 1), (9_999, 1), (10_000, 2), (20_000, 4), (1_000_000, 4)])
def test_threads_need_enough_rows(rows: int, threads: int) -> None:
    assert lgbm._useful_threads(4, rows=rows) == threads


def test_a_fit_on_few_rows_takes_one_thread() -> None:
    assert classifier_of(fit(threads=8)).n_jobs == 1


def test_a_prediction_for_few_texts_takes_one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fit().save(tmp_path)
    model = LgbmModel.load(tmp_path, threads=8)
    given: list[dict[str, object]] = []
    predict = lightgbm.Booster.predict
    monkeypatch.setattr(
        lightgbm.Booster, "predict", lambda booster, data, **options: given.append(options) or predict(booster, data, **options)
    )
    model.predict_proba(["relapse"])
    assert given[0]["num_threads"] == 1


@pytest.mark.parametrize(("inherited", "turns"), [({}, "0"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000")])
def test_idle_threads_sleep_also_outside_a_stage(inherited: dict[str, str], turns: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    # OpenMP prints its settings when a library loads it. By default a waiting thread makes 300000 turns, also as "PASSIVE".
    command = [sys.executable, "-c", "import gregory.ml.trainers.lgbm"]
    done = subprocess.run(
        command, env={**environment, **inherited, "OMP_DISPLAY_ENV": "verbose"}, capture_output=True, text=True, check=True
    )
    assert set(re.findall(r"GOMP_SPINCOUNT = '(\w+)'", done.stderr)) == {turns}
