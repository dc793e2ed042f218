"""Scored articles in the order of their probability, and the points of this order. Articles with equal probability are one group.

The last axis of every array has one entry per group. Before it, there can be an axis of resamples.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context

import numpy as np
from numpy.typing import NDArray

# A threshold with these digits is readable. Another batch size changes a probability in the seventh.
_ROUNDED_DOWN = Context(prec=6, rounding=ROUND_FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """The groups of a part. probabilities: float64 (g,), falling. relevant, others: int64 (g,), the articles of each group by label."""

    probabilities: NDArray[np.float64]
    relevant: NDArray[np.int64]
    others: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The articles down to the end of each group, int64 (..., g). A threshold equal to a group's probability selects them."""

    relevant: NDArray[np.int64]
    others: NDArray[np.int64]

    @property
    def selected(self) -> NDArray[np.int64]:
        """All articles down to the end of each group."""
        return self.relevant + self.others


def groups(labels: NDArray[np.int8], probabilities: NDArray[np.float64]) -> Groups:
    """The groups of one part."""
    falling, group = np.unique(-probabilities, return_inverse=True)
    count = len(falling)
    return Groups(
        probabilities=-falling,
        relevant=np.bincount(group[labels == 1], minlength=count),
        others=np.bincount(group[labels == 0], minlength=count),
    )


def merged(part: Groups, most: int) -> Groups:
    """At most `most` groups: neighbours become one, with the lowest of their probabilities."""
    count = len(part.probabilities)
    if count <= most:
        return part
    starts = np.linspace(0, count, most, endpoint=False).astype(np.intp)
    return Groups(
        probabilities=part.probabilities[np.append(starts[1:], count) - 1],
        relevant=np.add.reduceat(part.relevant, starts),
        others=np.add.reduceat(part.others, starts),
    )


def order_of(relevant: NDArray[np.int64], others: NDArray[np.int64]) -> Order:
    """The articles that each group reaches, from the articles of each group."""
    return Order(relevant=relevant.cumsum(axis=-1), others=others.cumsum(axis=-1))


def best_f1(order: Order) -> NDArray[np.intp]:
    """The group whose probability is the threshold with the best f1. Of equal ones the lowest, which finds more."""
    f1 = 2 * order.relevant / (order.selected + order.relevant[..., -1:])
    return np.asarray(f1.shape[-1] - 1 - np.argmax(f1[..., ::-1], axis=-1))


def reaching(order: Order, recall: float) -> NDArray[np.intp]:
    """The first group with at least this recall."""
    # The number of relevant articles is the same in every resample.
    return np.asarray(np.argmax(order.relevant >= needed(recall, int(order.relevant[..., -1].max())), axis=-1))


def needed(recall: float, relevant: int) -> int:
    """The number of relevant articles that is at least this recall."""
    # 0.9 * 10 can be a little more than 9.
    return math.ceil(recall * relevant - 1e-9)


def roc_auc(order: Order) -> NDArray[np.float64]:
    """The probability that a relevant article comes before another one. Half of the pairs in one group count."""
    pairs = _new(order.others) * (2 * order.relevant - _new(order.relevant))
    return np.asarray(pairs.sum(axis=-1) / (2 * order.relevant[..., -1] * order.others[..., -1]))


def pr_auc(order: Order) -> NDArray[np.float64]:
    """The average precision over the relevant articles."""
    precision = order.relevant / np.maximum(order.selected, 1)
    return np.asarray((_new(order.relevant) * precision).sum(axis=-1) / order.relevant[..., -1])


def rounded_down(probability: float) -> float:
    """A threshold of six digits that this probability reaches."""
    return float(_ROUNDED_DOWN.create_decimal(repr(float(probability))))


def _new(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.diff(counts, axis=-1, prepend=0)
