from pathlib import Path

import pytest

from gregory.ml.base_models import Bundle, BundleDescription
from gregory.ml.config import Algorithm
from gregory.ml.dataset import Dataset
from gregory.ml.manifest import PseudoLabelFacts, PseudoLabelRound
from gregory.ml.stages.work import _bundle_warnings, _data_warnings

TRIALS = "trained with the demo bundle, for trials only: "
SENTENCES = "the summaries are leading sentences and not those of BART; make the real bundle with prepare_base_models --replace-demo"
DATASET = Dataset(examples=(), duplicates=3, conflicts=0)


def facts(*rounds: tuple[int, int]) -> PseudoLabelFacts:
    counted = tuple(PseudoLabelRound(asked=9, relevant=relevant, not_relevant=not_relevant) for relevant, not_relevant in rounds)
    return PseudoLabelFacts(pool=9, rounds=counted, file="t/s/pseudo_labels/1.csv")


@pytest.mark.parametrize(
    ("rounds", "warnings"),
    [
        (((45, 0), (5, 0)), ["all 50 pseudo-labels are relevant: they shift the balance of the classes in the training part"]),
        (((0, 2),), ["all 2 pseudo-labels are not relevant: they shift the balance of the classes in the training part"]),
        (((4, 0), (0, 1)), []),
    ],
)
def test_pseudo_labels_of_one_class_give_a_warning(rounds: tuple[tuple[int, int], ...], warnings: list[str]) -> None:
    assert list(_data_warnings(DATASET, facts(*rounds))) == warnings


@pytest.mark.parametrize(
    ("pool", "asked", "cause"),
    [
        (0, None, "every article of the subject in the data window has a review"),
        (3, None, "each of the 3 articles without a review has the text of another article, or no text"),
        (9, 8, "no prediction for the 8 texts without a review reached `pseudo_label.confidence_threshold`"),
    ],
)
def test_pseudo_labels_that_add_nothing_give_a_warning(pool: int, asked: int | None, cause: str) -> None:
    rounds = () if asked is None else (PseudoLabelRound(asked=asked, relevant=0, not_relevant=0),)
    without = PseudoLabelFacts(pool=pool, rounds=rounds, file="t/s/pseudo_labels/1.csv")

    assert list(_data_warnings(DATASET, without)) == [f"no pseudo-label was added: {cause}"]


@pytest.mark.parametrize(
    ("name", "algorithm", "warnings"),
    [
        ("demo", "pubmed_bert", [f"{TRIALS}the encoder is MiniLM and not BiomedBERT, {SENTENCES}"]),
        ("demo", "lstm", [f"{TRIALS}{SENTENCES}"]),
        ("gregory", "pubmed_bert", []),
    ],
)
def test_the_demo_bundle_gives_a_warning(tmp_path: Path, name: str, algorithm: Algorithm, warnings: list[str]) -> None:
    part = {"source": "MiniLM", "revision": "1", "licence": "none", "files": {"a": {"sha256": "0" * 64, "bytes": 0}}}
    description = BundleDescription.model_validate({"name": name, "encoder": part, "summariser": part})
    bundle = Bundle(root=tmp_path, encoder_dir=tmp_path, summariser_dir=tmp_path, description=description)
    assert list(_bundle_warnings(bundle, algorithm)) == warnings


def test_contradicting_labels_give_a_warning() -> None:
    assert list(_data_warnings(Dataset(examples=(), duplicates=0, conflicts=2), None)) == [
        "2 articles were left out: identical texts have both labels, relevant and not relevant"
    ]
