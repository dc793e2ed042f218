"""The stage `train`: the predictions and the model card of a folder, with pseudo-labels, and with or without titles."""

import json
from pathlib import Path

import numpy as np
import pytest

from gregory.ml.artifacts import EVALUATION, METRICS, MODEL_CARD, read_manifest, verify
from gregory.ml.config import CardConfig, TrainConfig
from gregory.ml.dataset import Example, write_texts
from gregory.ml.evaluation import Evaluation
from gregory.ml.manifest import Provenance
from gregory.ml.metrics import NAMES, measure
from gregory.ml.predictions import PREDICTIONS, Prediction, read_predictions, text_hash
from gregory.ml.progress import silent
from gregory.ml.stages import work
from gregory.ml.stages.contract import EXAMPLES, MODEL_FOLDER, PSEUDO_LABELS, REQUEST, TrainRequest
from tests.tiny_bundle import tiny_bundle

WORDS = ("tax harvest weather", "myelin lesion relapse")


def examples(count: int) -> list[Example]:
    # A tenth of the labels is wrong, so there are mistakes to list.
    return [
        Example(article_id=number, text=f"{WORDS[number % 2]} {number}", label=number % 2 ^ (number % 10 == 0), title=f"Title of {number}.")
        for number in range(count)
    ]


def trained(folder: Path, card: CardConfig) -> Path:
    folder.mkdir()
    write_texts(folder / EXAMPLES, examples(120))
    write_texts(folder / PSEUDO_LABELS, [Example(article_id=500, text="myelin, by BERT", label=1)])
    request = TrainRequest(
        bundle=tiny_bundle(folder / "bundle"),
        threads=1,
        algorithm="lgbm_tfidf",
        config=TrainConfig(),
        provenance=Provenance(
            team="t", subject="s", version="1", run_id="r", attempt=1, run_log_id=1, cutoff=None, window="all articles", image_digest=""
        ),
        title_only=0,
        card=card,
    )
    (folder / REQUEST).write_text(request.model_dump_json())
    work.train(folder, folder, silent, folder)
    return folder / MODEL_FOLDER


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("train") / "stage", CardConfig(subject_name="Multiple Sclerosis"))


def test_the_predictions_have_every_article_of_the_parts(model: Path):
    predictions, parts = read_predictions(model), read_manifest(model).data.parts

    assert predictions is not None
    counts = {part: sum(one.part == part and not one.pseudo_label for one in predictions) for part in parts}
    assert counts == {part: sum(classes.values()) for part, classes in parts.items()}
    assert {one.article_id: one.text_hash for one in predictions if not one.pseudo_label} == {
        one.article_id: text_hash(one.text) for one in examples(120)
    }
    assert [one for one in predictions if one.pseudo_label] == [
        Prediction(article_id=500, part="train", label=1, pseudo_label=True, probability=None, text_hash=text_hash("myelin, by BERT"))
    ]


def test_the_metrics_are_those_of_the_predictions(model: Path):
    predictions, metrics = read_predictions(model) or (), json.loads((model / METRICS).read_text())

    for part, prefix in (("validation", "val"), ("test", "test")):
        rows = [one for one in predictions if one.part == part]
        labels, probabilities = np.array([one.label for one in rows], dtype=np.int8), np.array([one.probability for one in rows])
        assert measure(labels, probabilities, 0.8) == {name: metrics[f"{prefix}_{name}"] for name in NAMES}


def test_the_manifest_protects_the_predictions(model: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    copy.mkdir()
    assert verify(model, copy=copy) == []
    (copy / PREDICTIONS).write_text((copy / PREDICTIONS).read_text().replace(",0.", ",1.", 1))

    assert verify(copy)[0] == f"{copy / PREDICTIONS}: changed since training (sha256 differs)"


def test_the_evaluation_has_operating_points_and_a_baseline(model: Path):
    evaluation = Evaluation.model_validate_json((model / EVALUATION).read_text())

    assert len(evaluation.operating_points) == 6
    assert evaluation.baseline is not None


def test_the_model_card_has_the_name_of_the_subject_and_titles(model: Path):
    page = (model / MODEL_CARD).read_text()

    assert "<h1>Multiple Sclerosis</h1>" in page
    assert "Missed relevant articles" in page
    assert page.count("Title of ") > 1


def test_the_model_card_lists_only_the_libraries_of_the_model(model: Path):
    page = (model / MODEL_CARD).read_text()

    assert "<dt>lightgbm</dt>" in page
    assert "<dt>tensorflow</dt>" not in page


def test_without_titles_the_model_card_has_ids_only(tmp_path: Path):
    page = (trained(tmp_path / "stage", CardConfig(titles=False)) / MODEL_CARD).read_text()

    assert "<h1>s</h1>" in page
    assert "Missed relevant articles" in page
    assert "Title of " not in page
