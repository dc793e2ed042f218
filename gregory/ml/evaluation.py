"""evaluation.json as values: figures, curves, operating points and warnings of a model on the validation part and the test part.

`gregory.ml.evaluator` computes them. The curves can be drawn again without the model. Files of older releases lack the fields that have
a default.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

HALF = 0.5


class _Value(BaseModel):
    # A NaN is refused here, because it would be written as null, which cannot be read again.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RocCurve(_Value):
    """False and true positive rates. Both rise from 0 to 1. thresholds: of each point, None where no article is selected."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    thresholds: tuple[float | None, ...] = ()


class PrecisionRecallCurve(_Value):
    """Precision at each recall, from recall 1 down to 0. thresholds: of each point, None where no article is selected."""

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    thresholds: tuple[float | None, ...] = ()


class Calibration(_Value):
    """Ten bins of equal width, without empty bins: mean probability, share of relevant articles, number of articles."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]


class Confusion(_Value):
    """Numbers of articles by label and by prediction at the threshold."""

    tp: int
    fp: int
    fn: int
    tn: int


class Histogram(_Value):
    """Articles per class in each of the twenty bins of equal width. The last bin includes 1."""

    relevant: tuple[int, ...]
    not_relevant: tuple[int, ...]


class PartEvaluation(_Value):
    """One part. metrics: the six metrics at the threshold. at_half: f1, precision and recall at 0.5."""

    n: int
    relevant: int
    not_relevant: int
    metrics: dict[str, float]
    at_half: dict[str, float]
    highest: float
    deviation: float
    confusion: Confusion
    roc: RocCurve
    pr: PrecisionRecallCurve
    calibration: Calibration
    histogram: Histogram


class History(_Value):
    """Training figures by name at `steps` (epochs or boosting rounds, counted from 1). None: the figure was not a number."""

    steps: tuple[int, ...]
    series: dict[str, tuple[float | None, ...]]


class Figure(_Value):
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class OperatingPoint(_Value):
    """A threshold that was chosen on the validation part, and its figures on the test part.

    choice: as `gregory.ml.thresholds` reads it. found: selected relevant articles.
    work_saved: the share of articles that nobody must read, less the share of relevant articles that are missed.
    """

    choice: str
    threshold: Figure
    selected: Figure
    found: Figure
    precision: Figure
    recall: Figure
    work_saved: Figure


class Ranking(_Value):
    """The order of the test articles by probability, without a threshold.

    read: the articles at the start of the order, to the one with which `needed` relevant articles are found: `recall` of all.
    work_saved: the share of the other articles, less 1 - recall. For a recall of 0.95 this is WSS@95.
    """

    roc_auc: Figure
    pr_auc: Figure
    recall: float
    needed: int
    read: Figure
    work_saved: Figure


class Evaluation(_Value):
    """The content of evaluation.json. baseline: of a simple model with the same parts."""

    format: Literal[1] = 1
    threshold: float
    validation: PartEvaluation
    test: PartEvaluation
    history: History
    warnings: tuple[str, ...]
    operating_points: tuple[OperatingPoint, ...] = ()
    ranking: Ranking | None = None
    baseline: Ranking | None = None

    def encode(self) -> str:
        """The text of evaluation.json; `Evaluation.model_validate_json` is the inverse."""
        return self.model_dump_json()
