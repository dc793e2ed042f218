"""The comparison of two models as values. `gregory.ml.comparer` computes it.

Both models are asked about the same articles. An article from which one of them has learned is left out.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from gregory.ml.evaluation import Figure
from gregory.ml.manifest import Manifest

MINIMUM = 10
Conclusion = Literal["better", "worse", "cannot be told"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measured(_Value):
    """One figure of both models, and the difference second - first with its 95 % interval."""

    first: float
    second: float
    difference: Figure


class Flip(_Value):
    """An article that one model selects at its threshold and the other does not."""

    article_id: int
    label: int
    first: float
    second: float


class Comparison(_Value):
    """The second model against the first.

    relevant, not_relevant: the compared articles. learned: articles left out, because a model has learned from them. unasked: articles
    left out, because a probability and the text are missing. asked: texts that a model was asked for this comparison.
    minimum: the least number of articles of each class. figures: roc_auc, pr_auc, recall. Empty if a class has no article.
    flips: those with the largest difference first, at most 50 of flipped.
    """

    relevant: int
    not_relevant: int
    learned: int
    unasked: int
    asked: int
    minimum: int
    thresholds: tuple[float, float]
    figures: dict[str, Measured]
    flipped: int
    flips: tuple[Flip, ...]

    @property
    def is_sufficient(self) -> bool:
        """Whether each class has the least number of articles."""
        return min(self.relevant, self.not_relevant) >= self.minimum

    @property
    def conclusion(self) -> Conclusion:
        """The second model. It is better if the interval of an area is above 0 and none below, worse in the opposite case."""
        if not self.is_sufficient or not self.figures:
            return "cannot be told"
        areas = [self.figures[name].difference for name in AREAS]
        better, worse = any(area.low > 0 for area in areas), any(area.high < 0 for area in areas)
        if better == worse:
            return "cannot be told"
        return "better" if better else "worse"


def same_texts(first: Manifest, second: Manifest) -> bool:
    """Whether the same summariser made the texts of both models, from articles of the same text version."""
    (one, other) = (
        (made.base_models.get("summariser", {}).get("bundle_sha256"), made.config.hyperparameters.summariser, made.data.text_version)
        for made in (first, second)
    )
    return one == other


# The figures of the order of articles, which need no threshold.
AREAS = ("roc_auc", "pr_auc")
