"""The test articles that a model judges most wrongly: for a person who reads a few of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gregory.ml.split import Part

MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One test article. title: empty if the page names no titles."""

    article_id: int
    title: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """missed: relevant articles below the threshold, the lowest probability first. all_missed: their number.

    false_alarms: the articles with the highest probabilities that are not relevant, also those below the threshold.
    """

    missed: tuple[Mistake, ...] = ()
    all_missed: int = 0
    false_alarms: tuple[Mistake, ...] = ()


NO_MISTAKES = Mistakes()


def find_mistakes(test: Part, probabilities: NDArray[np.float64], threshold: float, titles: Mapping[int, str]) -> Mistakes:
    """The first MOST articles of each kind. titles: by article id, without those that the page does not name."""

    def listed(positions: NDArray[np.intp]) -> tuple[Mistake, ...]:
        ids = [(test.article_ids[position], float(probabilities[position])) for position in positions[:MOST]]
        return tuple(Mistake(article_id=number, title=titles.get(number, ""), probability=value) for number, value in ids)

    rising = np.argsort(probabilities, kind="stable")
    missed = rising[(test.labels[rising] == 1) & (probabilities[rising] < threshold)]
    return Mistakes(missed=listed(missed), all_missed=len(missed), false_alarms=listed(rising[test.labels[rising] == 0][::-1]))
