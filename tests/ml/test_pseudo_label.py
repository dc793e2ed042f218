"""Self-training with a scripted trainer: accepted texts, its end, and the separation of the parts."""

import csv
from pathlib import Path

import numpy as np
import pytest

from gregory.data.imports.read import Wanted, read_file
from gregory.data.imports.table import Limits
from gregory.ml.config import PseudoLabelConfig
from gregory.ml.dataset import Example, UnlabelledText
from gregory.ml.progress import Progress, silent
from gregory.ml.pseudo_label import PseudoLabel, self_train, write_csv
from gregory.ml.split import Part, Split

SPLIT = Split(
    train=Part.of([Example(article_id=1, text="train yes", label=1), Example(article_id=2, text="train no", label=0)]),
    validation=Part.of([Example(article_id=3, text="validation", label=1)]),
    test=Part.of([Example(article_id=4, text="test", label=0)]),
)


class Oracle:
    """Predicts the number at the end of a text, if the training part is large enough for that text."""

    def __init__(self) -> None:
        self.trained_on: list[int] = []

    def fit(self, split: Split, *, report, checkpoint=None):
        self.trained_on.append(len(split.train.texts))
        report(Progress(message="fitted", fraction=1.0))
        return self

    def predict_proba(self, texts):
        return np.array([float(text.split()[-1]) for text in texts])


def pool(*texts: str) -> list[UnlabelledText]:
    return [UnlabelledText(article_id=100 + position, text=text) for position, text in enumerate(texts)]


def test_confident_predictions_are_accepted_and_the_others_repeated():
    oracle = Oracle()

    rounds = self_train(oracle, SPLIT, pool("a 0.95", "b 0.05", "c 0.5", "d 0.89"), PseudoLabelConfig(), report=silent)

    taken = [(label.example.article_id, label.example.label, round(label.confidence, 2), label.round) for label in rounds[0].accepted]
    assert taken == [(100, 1, 0.95, 1), (101, 0, 0.95, 1)]
    assert [done.asked for done in rounds] == [4, 2]
    assert rounds[1].accepted == ()
    assert oracle.trained_on == [2, 4]


def test_a_probability_equal_to_the_threshold_is_accepted():
    (first, *_) = self_train(Oracle(), SPLIT, pool("a 0.9"), PseudoLabelConfig(), report=silent)

    assert [label.example.text for label in first.accepted] == ["a 0.9"]


def test_an_empty_pool_ends_it_without_another_fit():
    oracle = Oracle()

    self_train(oracle, SPLIT, pool("a 0.95"), PseudoLabelConfig(), report=silent)

    assert oracle.trained_on == [2]


def test_it_ends_after_the_last_round():
    class Slow(Oracle):
        def predict_proba(self, texts):
            return np.array([0.99] + [0.5] * (len(texts) - 1))

    rounds = self_train(Slow(), SPLIT, pool("a", "b", "c", "d"), PseudoLabelConfig(max_iterations=3), report=silent)

    assert [len(done.accepted) for done in rounds] == [1, 1, 1]


@pytest.mark.parametrize("known", ["train yes", "validation", "test", ""])
def test_a_labelled_text_is_never_predicted(known: str):
    assert self_train(Oracle(), SPLIT, pool(known), PseudoLabelConfig(), report=silent) == []


def test_a_repeated_text_is_accepted_once():
    (only,) = self_train(Oracle(), SPLIT, pool("a 0.95", "a 0.95"), PseudoLabelConfig(), report=silent)

    assert len(only.accepted) == 1


def test_validation_and_test_are_not_changed():
    grown = SPLIT.with_more_training([Example(article_id=9, text="more", label=1)])

    assert (grown.validation, grown.test) == (SPLIT.validation, SPLIT.test)
    assert grown.train.texts == ("train yes", "train no", "more")
    assert grown.train.labels.tolist() == [1, 0, 1]


def test_progress_counts_over_all_rounds():
    seen: list[Progress] = []

    self_train(Oracle(), SPLIT, pool("a 0.95", "b 0.5"), PseudoLabelConfig(max_iterations=4), report=seen.append)

    assert [progress.fraction for progress in seen if progress.fraction is not None] == [0.25, 0.25, 0.5, 0.5]


def test_the_file_has_the_columns_for_people(tmp_path: Path):
    rounds = self_train(Oracle(), SPLIT, pool('quoted, "text" 0.95'), PseudoLabelConfig(), report=silent)

    write_csv(tmp_path / "labels.csv", rounds[0].accepted)

    with (tmp_path / "labels.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["article_id", "text", "label", "confidence", "round"],
            ["100", 'quoted, "text" 0.95', "1", "0.950000", "1"],
        ]


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t", "\r", "'="])
def test_the_file_has_no_formula_and_an_import_reads_its_texts(beginning: str, tmp_path: Path):
    text = f"{beginning}1+1 of a title"
    label = PseudoLabel(example=Example(article_id=7, text=text, label=1), confidence=0.95, round=1)

    write_csv(tmp_path / "labels.csv", [label])

    with (tmp_path / "labels.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["text"] == f"'{text}"
    (row,) = read_file(tmp_path / "labels.csv", Wanted(), Limits(line=1000, cell=1000, unpacked=0)).rows
    assert (row.source_id, row.title, row.summary, row.label) == ("7", text, "", True)


class Breaking(Oracle):
    """Fails in its nth fit, after it has written a checkpoint."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def fit(self, split: Split, *, report, checkpoint=None):
        if len(self.trained_on) + 1 == self.number:
            checkpoint.write_text("half a fit")
            raise KeyboardInterrupt
        return super().fit(split, report=report, checkpoint=checkpoint)


@pytest.mark.parametrize("broken", [1, 2])
def test_it_continues_with_the_interrupted_round(broken: int, tmp_path: Path):
    texts = pool("a 0.95", "b 0.05", "c 0.5", "d 0.89")
    whole = self_train(Oracle(), SPLIT, texts, PseudoLabelConfig(), report=silent)
    with pytest.raises(KeyboardInterrupt):
        self_train(Breaking(broken), SPLIT, texts, PseudoLabelConfig(), report=silent, resume_dir=tmp_path)
    assert (tmp_path / f"round-{broken}.npz").read_text() == "half a fit"
    oracle = Oracle()

    rounds = self_train(oracle, SPLIT, texts, PseudoLabelConfig(), report=silent, resume_dir=tmp_path)

    assert rounds == whole
    assert oracle.trained_on == [2, 4][broken - 1 :]
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize(
    ("texts", "config"), [(("a 0.95", "e 0.5"), PseudoLabelConfig()), (("a 0.95", "c 0.5"), PseudoLabelConfig(confidence_threshold=0.8))]
)
def test_rounds_of_other_work_are_not_used(texts: tuple[str, ...], config: PseudoLabelConfig, tmp_path: Path):
    self_train(Oracle(), SPLIT, pool("a 0.95", "c 0.5"), PseudoLabelConfig(), report=silent, resume_dir=tmp_path)
    oracle = Oracle()

    self_train(oracle, SPLIT, pool(*texts), config, report=silent, resume_dir=tmp_path)

    assert oracle.trained_on[0] == 2
