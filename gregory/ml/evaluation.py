"""evaluation.json: figures, curves and warnings of a model on the validation part and the test part. No input, output or drawing.

The curves can be drawn again without the model. The file has less than 64 KB for all sizes of the parts and lengths of the training:
curves have at most 200 points, with six significant digits. Single figures are exact, and metrics.json takes them from here.
"""

import math
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gregory.ml.metrics import measure
from gregory.output import counted

# labels int8 (n,) of 0 and 1, probabilities float64 (n,) in the same order
Scored: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float64]]

MOST_POINTS = 200
MOST_SERIES = 8
HALF = 0.5

# Quotients, not linspace: 3 / 20 is exactly the float 0.15, so a threshold is equal to an edge.
HISTOGRAM_EDGES = np.arange(21) / 20
CALIBRATION_EDGES = np.arange(11) / 10

# Below one percentage point no threshold separates the articles. LightGBM measured .20 to .41 on four screening subjects,
# and .013 on one with 46 relevant of 1,855 articles and a ROC AUC of .71.
LEAST_DEVIATION = 0.01
# With nine relevant articles, one article changes recall by eleven points.
FEW_ARTICLES = 10


class _Value(BaseModel):
    # A NaN is refused here, because it would be written as null, which cannot be read again.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RocCurve(_Value):
    """False and true positive rates. Both rise from 0 to 1."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]


class PrecisionRecallCurve(_Value):
    """Precision at each recall, from recall 1 down to 0."""

    recall: tuple[float, ...]
    precision: tuple[float, ...]


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
    """Articles per class in each of the twenty bins between HISTOGRAM_EDGES. The last bin includes 1."""

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


class Evaluation(_Value):
    """The content of evaluation.json."""

    format: Literal[1] = 1
    threshold: float
    validation: PartEvaluation
    test: PartEvaluation
    history: History
    warnings: tuple[str, ...]

    def encode(self) -> str:
        """The text of evaluation.json; `Evaluation.model_validate_json` is the inverse."""
        return self.model_dump_json()


def evaluate(*, validation: Scored, test: Scored, threshold: float, history: Sequence[dict[str, float]]) -> Evaluation:
    """Measure both parts and add the warnings of the test part.

    Raises ValueError like `gregory.ml.metrics.measure`: a part has one class only, or a probability is not a number in [0, 1].
    """
    parts = {"validation": _part(*validation, threshold), "test": _part(*test, threshold)}
    return Evaluation(
        threshold=threshold,
        validation=parts["validation"],
        test=parts["test"],
        history=_history(history),
        warnings=quality_warnings(parts["test"], threshold),
    )


def quality_warnings(test: PartEvaluation, threshold: float) -> tuple[str, ...]:
    """Warnings for an operator before the use of the model, the most important first.

    They depend only on the test part, because its figures are the quoted ones.
    """
    found = [_at_threshold(test, threshold)]
    if test.deviation < LEAST_DEVIATION:
        found.append(
            f"the probabilities of the test articles hardly vary (standard deviation {test.deviation:.2g}): "
            "the model gives nearly the same probability to every text"
        )
    if test.metrics["roc_auc"] < HALF:
        found.append(f"on the test part the ROC AUC is {test.metrics['roc_auc']:.2f}, worse than chance (0.5)")
    for name, count in (("relevant", test.relevant), ("not relevant", test.not_relevant)):
        if count < FEW_ARTICLES:
            found.append(f"the test part holds only {counted(count, f'{name} article')}: the test figures are uncertain by several points")
    return tuple(sentence for sentence in found if sentence)


def _at_threshold(test: PartEvaluation, threshold: float) -> str:
    confusion = test.confusion
    reached = confusion.tp + confusion.fp
    # Rounded down, because 0.7996 must not appear as 0.80 below a threshold of 0.8.
    highest = Decimal(str(test.highest)).quantize(Decimal("0.01"), ROUND_DOWN)
    auc = f"ROC AUC is {test.metrics['roc_auc']:.2f}"
    if reached == 0:
        return (
            f"no test article reaches the threshold {threshold:g}: the highest probability is {highest}, "
            f"so precision, recall and f1 are 0; {auc}"
        )
    if confusion.tp == 0:
        articles = "article reaches" if reached == 1 else "articles reach"
        return f"{reached} test {articles} the threshold {threshold:g} and none is relevant, so precision, recall and f1 are 0; {auc}"
    if reached == test.n:
        return f"all {reached} test articles reach the threshold {threshold:g}: it excludes no article; {auc}"
    if confusion.tp < confusion.fn:
        at_half = "" if threshold == HALF else f"; at {HALF:g} it is {test.at_half['recall']:.2f}"
        return (
            f"at the threshold {threshold:g} the model finds only {confusion.tp} of {test.relevant} relevant test articles "
            f"(recall {test.metrics['recall']:.2f}{at_half}); {auc}"
        )
    return ""


def _part(labels: NDArray[np.int8], probabilities: NDArray[np.float64], threshold: float) -> PartEvaluation:
    figures = measure(labels, probabilities, threshold)
    half = measure(labels, probabilities, HALF)
    relevant = labels == 1
    reached = probabilities >= threshold
    return PartEvaluation(
        n=len(labels),
        relevant=int(relevant.sum()),
        not_relevant=int((~relevant).sum()),
        metrics=figures,
        at_half={name: half[name] for name in ("f1", "precision", "recall")},
        highest=float(probabilities.max()),
        deviation=float(probabilities.std()),
        confusion=Confusion(
            tp=int((reached & relevant).sum()),
            fp=int((reached & ~relevant).sum()),
            fn=int((~reached & relevant).sum()),
            tn=int((~reached & ~relevant).sum()),
        ),
        roc=_roc(labels, probabilities),
        pr=_precision_recall(labels, probabilities),
        calibration=_calibration(relevant, probabilities),
        histogram=Histogram(
            relevant=tuple(np.histogram(probabilities[relevant], HISTOGRAM_EDGES)[0].tolist()),
            not_relevant=tuple(np.histogram(probabilities[~relevant], HISTOGRAM_EDGES)[0].tolist()),
        ),
    )


def _roc(labels: NDArray[np.int8], probabilities: NDArray[np.float64]) -> RocCurve:
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(labels, probabilities)
    selected = _selected(len(fpr))
    return RocCurve(fpr=_rounded(fpr[selected]), tpr=_rounded(tpr[selected]))


def _precision_recall(labels: NDArray[np.int8], probabilities: NDArray[np.float64]) -> PrecisionRecallCurve:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, probabilities, drop_intermediate=True)
    selected = _selected(len(recall))
    return PrecisionRecallCurve(recall=_rounded(recall[selected]), precision=_rounded(precision[selected]))


def _calibration(relevant: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> Calibration:
    bins = np.digitize(probabilities, CALIBRATION_EDGES[1:-1])
    filled = np.unique(bins)
    return Calibration(
        predicted=_rounded(np.array([probabilities[bins == number].mean() for number in filled])),
        observed=_rounded(np.array([relevant[bins == number].mean() for number in filled])),
        counts=tuple(int((bins == number).sum()) for number in filled),
    )


def _history(history: Sequence[dict[str, float]]) -> History:
    names = list(dict.fromkeys(name for step in history for name in step))[:MOST_SERIES]
    selected = _selected(len(history)).tolist()
    return History(
        steps=tuple(index + 1 for index in selected),
        series={name: tuple(_number(history[index].get(name)) for index in selected) for name in names},
    )


def _selected(points: int) -> NDArray[np.intp]:
    """Indices of at most MOST_POINTS points, evenly spaced, with the first and the last."""
    if points <= MOST_POINTS:
        return np.arange(points)
    return np.linspace(0, points - 1, MOST_POINTS).round().astype(np.intp)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
