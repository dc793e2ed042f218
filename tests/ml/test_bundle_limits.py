"""The limits of a bundle, compared before a run: the positions of its encoder, and the tokens of its summariser."""

import json
from pathlib import Path

import pytest

from gregory.ml.bundle_limits import require_fit
from gregory.ml.config import BertConfig, Hyperparameters, SummariserConfig, TrainConfig
from gregory.ml.errors import ConfigError
from tests.tiny_bundle import describe

GENERATION = {
    "num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "min_length": 56, "forced_bos_token": None, "forced_eos_token": None,
    "positions": 1024,
}  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with the settings of an encoder of 512 positions and of BART, without models."""
    for part, files in {
        "encoder": {"config.json": {"max_position_embeddings": 512}},
        "summariser": {"summariser.json": {"kind": "bart_ctranslate2"}, "generation.json": GENERATION},
    }.items():
        (tmp_path / part).mkdir()
        for name, content in files.items():
            (tmp_path / part / name).write_text(json.dumps(content))
    describe(tmp_path)
    return tmp_path


def shortened(bundle: Path, positions: int) -> Path:
    """The same bundle, with an encoder of fewer positions."""
    (bundle / "encoder" / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))
    describe(bundle)
    return bundle


def config(*, max_length: int = 400, pseudo_label: bool = False, **summariser: int) -> TrainConfig:
    parts = Hyperparameters(bert=BertConfig(max_length=max_length), summariser=SummariserConfig(**summariser))
    return TrainConfig(hyperparameters=parts, pseudo_label=pseudo_label)


def test_the_values_of_the_specification_fit(bundle: Path):
    require_fit(bundle, TrainConfig(), ["pubmed_bert", "lgbm_tfidf"])


def test_a_text_of_bert_must_fit_the_encoder(bundle: Path):
    message = f"bert.max_length 400 exceeds the 399 positions of {bundle}/encoder; lower it"

    with pytest.raises(ConfigError) as caught:
        require_fit(shortened(bundle, 399), config(), ["pubmed_bert"])

    assert str(caught.value) == message
    require_fit(shortened(bundle, 400), config(), ["pubmed_bert"])


def test_only_a_training_of_bert_needs_the_encoder(bundle: Path):
    require_fit(shortened(bundle, 8), config(), ["lgbm_tfidf", "lstm"])

    with pytest.raises(ConfigError, match=r"bert\.max_length"):
        require_fit(bundle, config(pseudo_label=True), ["lgbm_tfidf"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_new_tokens": 55}, "summariser.max_new_tokens is 55, but this summariser writes at least 56: raise the value"),
        ({"max_new_tokens": 1025}, "summariser.max_new_tokens is 1025, but this summariser has 1024 positions: lower the value"),
        ({"max_source_tokens": 1025}, "summariser.max_source_tokens is 1025, but this summariser has 1024 positions: lower the value"),
    ],
)
def test_a_summary_must_fit_the_summariser(bundle: Path, values: dict[str, int], message: str):
    with pytest.raises(ConfigError) as caught:
        require_fit(bundle, config(**values), ["lgbm_tfidf"])

    assert str(caught.value) == message


def test_a_summariser_without_a_model_has_no_limits(small_bundle: Path):
    require_fit(small_bundle, config(max_new_tokens=3), ["lgbm_tfidf"])
