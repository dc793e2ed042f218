"""Labels and probabilities -> evaluation. No input, output or drawing.

evaluation.json has less than 64 KB for all sizes of the parts and lengths of the training: curves have at most 200 points, with six
significant digits. Single figures are exact, and metrics.json takes them from here.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gregory.ml.evaluation import (
    HALF,
    Calibration,
    Confusion,
    Evaluation,
    Histogram,
    History,
    PartEvaluation,
    PrecisionRecallCurve,
    RocCurve,
)
from gregory.ml.metrics import measure
from gregory.ml.operating_points import operating_points, rank
from gregory.ml.quality_warnings import quality_warnings
from gregory.ml.ranking import groups, rounded_down

# labels int8 (n,) of 0 and 1, probabilities float64 (n,) in the same order
Scored: TypeAlias = tuple[NDArray[np.int8], NDArray[np.float64]]

MOST_POINTS = 200
MOST_SERIES = 8

# Quotients, not linspace: 3 / 20 is exactly the float 0.15, so a threshold is equal to an edge.
HISTOGRAM_EDGES = np.arange(21) / 20
CALIBRATION_EDGES = np.arange(11) / 10


def evaluate(
    *,
    validation: Scored,
    test: Scored,
    threshold: float,
    history: Sequence[dict[str, float]],
    baseline: NDArray[np.float64] | None = None,
) -> Evaluation:
    """Measure both parts and add the warnings of the test part. baseline: probabilities of the baseline for the test part.

    Raises ValueError like `gregory.ml.metrics.measure`: a part has one class only, or a probability is not a number in [0, 1].
    """
    parts = {"validation": _part(*validation, threshold), "test": _part(*test, threshold)}
    ranking, yardstick = rank(groups(*test)), None if baseline is None else rank(groups(test[0], baseline))
    return Evaluation(
        threshold=threshold,
        validation=parts["validation"],
        test=parts["test"],
        history=_history(history),
        warnings=quality_warnings(parts["test"], threshold, ranking, yardstick),
        operating_points=operating_points(groups(*validation), groups(*test), threshold=threshold),
        ranking=ranking,
        baseline=yardstick,
    )


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

    fpr, tpr, thresholds = roc_curve(labels, probabilities)
    selected = _selected(len(fpr))
    return RocCurve(fpr=_rounded(fpr[selected]), tpr=_rounded(tpr[selected]), thresholds=_thresholds(thresholds[selected]))


def _precision_recall(labels: NDArray[np.int8], probabilities: NDArray[np.float64]) -> PrecisionRecallCurve:
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, probabilities, drop_intermediate=True)
    selected = _selected(len(recall))
    return PrecisionRecallCurve(
        recall=_rounded(recall[selected]),
        precision=_rounded(precision[selected]),
        thresholds=_thresholds(np.append(thresholds, np.inf)[selected]),
    )


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


def _thresholds(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(rounded_down(value) if math.isfinite(value) else None for value in values)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
