"""evaluation.json: what a trained model did on the validation and test parts, as figures and curves that can be drawn
again without the model, and in plain words where the figures warn. Pure: nothing is drawn, read or written here.

The file stays below 64 KB whatever the size of the parts and the length of the training: curves are thinned to 200
points and rounded to six significant digits. Single figures are exact, so metrics.json can be taken from here.
"""

import math
from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gregory.ml.metrics import measure

# labels int8 (n,) of 0 and 1, probabilities float64 (n,) in the same order
Scored: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float64]]

MOST_POINTS = 200
MOST_SERIES = 8
HALF = 0.5

# Quotients, not linspace: 3 / 20 is the float that people write as 0.15, so a threshold falls on an edge.
HISTOGRAM_EDGES = np.arange(21) / 20
CALIBRATION_EDGES = np.arange(11) / 10

# Below one percentage point no threshold tells articles apart. LightGBM on four screening subjects measured .20 to .41,
# and still .013 where 46 of 1,855 articles are relevant and the ROC AUC is .71.
LEAST_DEVIATION = 0.01
# With nine relevant articles, one more or less found moves recall by eleven points.
FEW_ARTICLES = 10


class _Value(BaseModel):
    # A NaN would be written as null and read back as an error: refuse it where it arises.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RocCurve(_Value):
    """False and true positive rates, both rising from 0 to 1."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]


class PrecisionRecallCurve(_Value):
    """Precision at each recall, from recall 1 down to 0."""

    recall: tuple[float, ...]
    precision: tuple[float, ...]


class Calibration(_Value):
    """Ten bins of equal width without the empty ones: mean probability, share of relevant articles, articles."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]


class Confusion(_Value):
    """Articles by prediction at the threshold and by label."""

    tp: int
    fp: int
    fn: int
    tn: int


class Histogram(_Value):
    """Articles per class in each of the twenty bins between HISTOGRAM_EDGES; the last bin includes 1."""

    relevant: tuple[int, ...]
    not_relevant: tuple[int, ...]


class PartEvaluation(_Value):
    """One part. `metrics` are the six at the threshold, `at_half` f1, precision and recall at 0.5."""

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
    """Training figures by name at `steps` (epochs or boosting rounds, counted from 1); None where there was no number."""

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
    """Measure both parts and judge the test part.

    Raises ValueError as `gregory.ml.metrics.measure` does: one class only, or a probability that is no number in [0, 1].
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
    """What an operator must know before using the model, worst first; empty where nothing stands out.

    Only the test part is judged: its figures are the ones that get quoted.
    """
    found = [_at_threshold(test, threshold)]
    if test.deviation < LEAST_DEVIATION:
        found.append(
            f"the probabilities of the test articles hardly vary (standard deviation {test.deviation:.2g}): "
            "the model answers nearly the same whatever it reads"
        )
    if test.metrics["roc_auc"] < HALF:
        found.append(f"on the test part the ROC AUC is {test.metrics['roc_auc']:.2f}, worse than chance (0.5)")
    for name, count in (("relevant", test.relevant), ("not relevant", test.not_relevant)):
        if count < FEW_ARTICLES:
            articles = f"{count} {name} article" if count == 1 else f"{count} {name} articles"
            found.append(f"the test part holds only {articles}: the test figures are uncertain by several points")
    return tuple(sentence for sentence in found if sentence)


def _at_threshold(test: PartEvaluation, threshold: float) -> str:
    confusion = test.confusion
    reached = confusion.tp + confusion.fp
    # Rounded down: a highest probability of 0.7996 must not read as 0.80 below a threshold of 0.8.
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
        return f"all {reached} test articles reach the threshold {threshold:g}: at it the model sorts nothing out; {auc}"
    if confusion.tp < confusion.fn:
        return (
            f"at the threshold {threshold:g} the model finds only {confusion.tp} of {test.relevant} relevant test articles "
            f"(recall {test.metrics['recall']:.2f}; at 0.5 it is {test.at_half['recall']:.2f}); {auc}"
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
    kept = _kept(len(fpr))
    return RocCurve(fpr=_rounded(fpr[kept]), tpr=_rounded(tpr[kept]))


def _precision_recall(labels: NDArray[np.int8], probabilities: NDArray[np.float64]) -> PrecisionRecallCurve:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, probabilities, drop_intermediate=True)
    kept = _kept(len(recall))
    return PrecisionRecallCurve(recall=_rounded(recall[kept]), precision=_rounded(precision[kept]))


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
    kept = _kept(len(history)).tolist()
    return History(
        steps=tuple(index + 1 for index in kept),
        series={name: tuple(_number(history[index].get(name)) for index in kept) for name in names},
    )


def _kept(points: int) -> NDArray[np.intp]:
    """Indices of at most MOST_POINTS points, evenly spaced, the first and the last among them."""
    if points <= MOST_POINTS:
        return np.arange(points)
    return np.linspace(0, points - 1, MOST_POINTS).round().astype(np.intp)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
