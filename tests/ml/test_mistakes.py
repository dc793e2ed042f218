"""The lists of the model card: missed relevant articles and strongest false alarms."""

import numpy as np

from gregory.ml.dataset import Example
from gregory.ml.model_card.mistakes import Mistake, Mistakes, find_mistakes
from gregory.ml.split import Part

TITLES = {number: f"title {number}" for number in range(30)}


def part(labels: list[int]) -> Part:
    return Part.of([Example(article_id=number, text=f"text {number}", label=label) for number, label in enumerate(labels)])


def test_mistakes_are_ordered_by_how_wrong_they_are():
    probabilities = np.array([0.5, 0.9, 0.1, 0.3, 0.95, 0.2])

    assert find_mistakes(part([1, 1, 1, 0, 0, 0]), probabilities, 0.8, TITLES) == Mistakes(
        missed=(Mistake(article_id=2, title="title 2", probability=0.1), Mistake(article_id=0, title="title 0", probability=0.5)),
        all_missed=2,
        false_alarms=(
            Mistake(article_id=4, title="title 4", probability=0.95),
            Mistake(article_id=3, title="title 3", probability=0.3),
            Mistake(article_id=5, title="title 5", probability=0.2),
        ),
    )


def test_an_article_at_the_threshold_is_not_missed():
    assert find_mistakes(part([1, 0]), np.array([0.8, 0.1]), 0.8, TITLES).missed == ()


def test_ten_of_each_kind_are_listed():
    found = find_mistakes(part([1] * 15 + [0] * 15), np.linspace(0, 0.7, 30), 0.8, TITLES)

    assert ([one.article_id for one in found.missed], found.all_missed) == (list(range(10)), 15)
    assert [one.article_id for one in found.false_alarms] == list(range(29, 19, -1))


def test_without_titles_only_ids_are_named():
    assert [one.title for one in find_mistakes(part([1, 0]), np.array([0.1, 0.9]), 0.8, {}).missed] == [""]
