"""Two models on the articles from which neither has learned."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gregory.ml.comparer import Model, compare
from gregory.ml.comparison import Comparison, Flip
from gregory.ml.dataset import Example
from gregory.ml.predictions import Prediction, text_hash


def row(number: int, part: Any, probability: float | None = None, *, text: str | None = None, pseudo_label: bool = False) -> Prediction:
    """An article of a model. Even numbers are relevant."""
    return Prediction(
        article_id=number,
        part=part,
        label=1 - number % 2,
        pseudo_label=pseudo_label,
        probability=probability,
        text_hash=text_hash(text or f"text {number}"),
    )


def refuse(texts: Sequence[str]) -> Any:
    pytest.fail(f"asked {texts}")


def model(
    *rows: Prediction, algorithm: Any = "lgbm_tfidf", threshold: float = 0.5, predict: Callable[[Sequence[str]], Any] = refuse
) -> Model:
    return Model(algorithm=algorithm, threshold=threshold, predictions=rows, predict=predict)


def scored(answers: Sequence[float], **options: Any) -> Model:
    """A model with these answers to its test articles 0, 1, 2 ..."""
    return model(*(row(number, "test", answer) for number, answer in enumerate(answers)), **options)


def example(number: int, *, text: str | None = None) -> Example:
    return Example(article_id=number, text=text or f"text {number}", label=1 - number % 2)


def counts(done: Comparison) -> tuple[int, int, int, int, int]:
    return done.relevant, done.not_relevant, done.learned, done.unasked, done.asked


def test_an_article_of_which_a_model_has_learned_is_left_out_by_id_and_by_text():
    first = model(row(0, "train"), row(1, "test", 0.1), row(2, "test", 0.9), row(3, "test", 0.2))
    second = model(row(0, "test", 0.8), row(1, "test", 0.3), row(9, "train", text="text 2"), row(3, "train", text="an earlier text"))

    done = compare(first, second, minimum=1)

    # 0 and 3 by id, and 2 by its text under the id 9. Only 1 is left.
    assert counts(done) == (0, 1, 3, 0, 0)
    assert (done.figures, done.conclusion) == ({}, "cannot be told")


def test_the_validation_part_counts_as_learned_if_it_ends_the_training():
    rows = [row(number, "validation", 0.5) for number in range(4)]

    assert counts(compare(model(*rows), model(*rows), minimum=1)) == (2, 2, 0, 0, 0)
    assert counts(compare(model(*rows), model(*rows, algorithm="lstm"), minimum=1)) == (0, 0, 4, 0, 0)


def test_an_article_without_text_and_without_both_probabilities_is_counted():
    first, second = scored([0.9, 0.1]), model(row(0, "test", 0.9))

    assert counts(compare(first, second, minimum=1)) == (1, 0, 0, 1, 0)


def test_models_are_asked_only_for_missing_probabilities():
    asked: dict[str, list[str]] = {"first": [], "second": []}

    def asking(name: str) -> Callable[[Sequence[str]], Any]:
        def predict(texts: Sequence[str]) -> Any:
            asked[name] += texts
            return np.full(len(texts), 0.25)

        return predict

    first, second = scored([0.9, 0.1], predict=asking("first")), model(row(0, "test", 0.6), predict=asking("second"))

    done = compare(first, second, [example(0), example(1), example(2)], minimum=1)

    assert asked == {"first": ["text 2"], "second": ["text 1", "text 2"]}
    assert counts(done) == (2, 1, 0, 0, 3)


def test_an_article_with_another_text_by_now_is_asked_with_its_present_text():
    answers = {"a new text": 0.75}

    def predict(texts: Sequence[str]) -> Any:
        return np.array([answers[text] for text in texts])

    done = compare(scored([0.1], predict=predict), scored([0.2], predict=predict), [example(0, text="a new text")], minimum=1)

    assert counts(done) == (1, 0, 0, 0, 2)


def test_pseudo_labels_are_never_compared():
    rows = [row(0, "test", 0.9), row(1, "test", 0.1), row(2, "train", pseudo_label=True)]

    assert counts(compare(model(*rows), model(*rows[:2]), minimum=1)) == (1, 1, 0, 0, 0)


def test_the_figures_of_both_models_and_their_difference():
    """Relevant are 0, 2, 4 and 6. The first model puts one of them last, the second none."""
    first, second = scored([0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.1, 0.5]), scored([0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.5])

    done = compare(first, second, minimum=1)

    assert {name: (round(one.first, 3), one.second, round(one.difference.value, 3)) for name, one in done.figures.items()} == {
        "roc_auc": (0.75, 1.0, 0.25), "pr_auc": (0.875, 1.0, 0.125), "recall": (0.75, 1.0, 0.25),
    }  # fmt: skip
    assert (done.flipped, done.flips) == (1, (Flip(article_id=6, label=1, first=0.1, second=0.6),))
    assert compare(first, second, minimum=1) == done


def noisy(quality: float, *, seed: int, number: int = 200) -> Model:
    random = np.random.default_rng(seed)
    labels = 1 - np.arange(number) % 2
    return scored((1 / (1 + np.exp(-(quality * labels + random.normal(size=number))))).tolist())


@pytest.mark.parametrize(
    ("first", "second", "conclusion"),
    [(0.5, 3.0, "better"), (3.0, 0.5, "worse"), (1.5, 1.5, "cannot be told")],
)
def test_the_conclusion_needs_a_difference_beyond_its_interval(first: float, second: float, conclusion: str):
    assert compare(noisy(first, seed=1), noisy(second, seed=2), minimum=10).conclusion == conclusion


def test_with_few_articles_nothing_can_be_told():
    done = compare(noisy(0.5, seed=1, number=18), noisy(9.0, seed=2, number=18), minimum=10)

    assert (done.is_sufficient, done.conclusion, done.figures["roc_auc"].second) == (False, "cannot be told", 1.0)


def test_equal_answers_of_many_articles_are_one_group():
    done = compare(scored([0.5] * 40), scored([0.5] * 40), minimum=10)

    assert (done.figures["roc_auc"].first, done.figures["pr_auc"].second, done.conclusion) == (0.5, 0.5, "cannot be told")
