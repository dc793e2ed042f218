"""Operating points: thresholds chosen on the validation part, with their figures on the test part. And the order of the test part."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gregory.ml.bootstrap import figure, rates, with_intervals
from gregory.ml.evaluation import HALF, Figure, OperatingPoint, Ranking
from gregory.ml.ranking import Groups, Order, best_f1, needed, pr_auc, reaching, roc_auc, rounded_down
from gregory.ml.thresholds import BEST_F1, fixed, recall_of

RECALLS = (0.9, 0.95, 0.99)
# The recall of "work saved over sampling" in the studies of screening.
USUAL_RECALL = 0.95


def operating_points(validation: Groups, test: Groups, *, threshold: float) -> tuple[OperatingPoint, ...]:
    """The configured threshold, 0.5, the threshold of the best f1, and those of three recalls."""
    constant = (_constant(value) for value in dict.fromkeys((threshold, HALF)))
    return tuple(_measured(choice, at, test) for choice, at in (*constant, *_chosen(validation)))


def rank(test: Groups, *, recall: float = USUAL_RECALL) -> Ranking:
    """The figures of the order of the test articles."""

    def measured(_: Groups, order: Order) -> dict[str, NDArray[Any]]:
        selected = order.selected
        read = np.take_along_axis(selected, reaching(order, recall)[..., None], axis=-1)[..., 0]
        return {"roc_auc": roc_auc(order), "pr_auc": pr_auc(order), "read": read, "work_saved": recall - read / selected[..., -1]}

    return Ranking(recall=recall, needed=needed(recall, int(test.relevant.sum())), **with_intervals(test, measured))


def _constant(threshold: float) -> tuple[str, Figure]:
    return fixed(threshold), Figure(value=threshold, low=threshold, high=threshold)


def _chosen(validation: Groups) -> list[tuple[str, Figure]]:
    """The thresholds of the validation part, each with the interval of the same choice on resampled articles."""

    def thresholds(part: Groups, order: Order) -> dict[str, NDArray[Any]]:
        ends = {BEST_F1: best_f1(order), **{recall_of(recall): reaching(order, recall) for recall in RECALLS}}
        return {choice: part.probabilities[end] for choice, end in ends.items()}

    found = with_intervals(validation, thresholds)
    return [(choice, _rounded_down(threshold)) for choice, threshold in found.items()]


def _rounded_down(threshold: Figure) -> Figure:
    return Figure(**{name: rounded_down(value) for name, value in threshold.model_dump().items()})


def _measured(choice: str, threshold: Figure, test: Groups) -> OperatingPoint:
    selected = test.probabilities >= threshold.value
    found, false = int(test.relevant[selected].sum()), int(test.others[selected].sum())
    relevant, others = int(test.relevant.sum()), int(test.others.sum())
    found_shares, false_shares = rates((found, relevant - found), (false, others - false))
    values = _figures(np.array([found]), np.array([false]), relevant, others)
    samples = _figures(relevant * found_shares, others * false_shares, relevant, others)
    figures = {name: figure(float(value[0]), samples[name]) for name, value in values.items()}
    return OperatingPoint(choice=choice, threshold=threshold, **figures)


def _figures(found: NDArray[Any], false: NDArray[Any], relevant: int, others: int) -> dict[str, NDArray[np.float64]]:
    """The figures of each pair of found articles and false alarms. Without a selected article, precision is 0, as in metrics.json."""
    selected, recall = found + false, found / relevant
    return {
        "selected": selected,
        "found": found,
        "precision": found / np.maximum(selected, np.finfo(float).tiny),
        "recall": recall,
        "work_saved": recall - selected / (relevant + others),
    }
