"""The 95 % intervals of evaluation.json: the figures that other articles of the same kind would give.

The resampling is stratified, as the split is: each class keeps its number of articles. So no resample lacks a class, and few relevant
articles give a wide interval. docs/decisions/0027-operating-points.md has the reasons. Equal input gives equal intervals.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gregory.ml.evaluation import Figure
from gregory.ml.ranking import Groups, Order, merged, order_of

# Figures by name, of the order of a part or of several resamples of it.
Measured: TypeAlias = Callable[[Groups, Order], dict[str, NDArray[Any]]]

RESAMPLES = 1000
_SEED = 69
_ENDS = (0.025, 0.975)
# Half an article: Jeffreys' prior. Without it, 13 of 13 found articles would have the interval 1 to 1.
_PRIOR = 0.5
# More groups change an interval by less than a hundredth of its width, and cost minutes.
_MOST_GROUPS = 2000
# Limits the memory.
_AT_ONCE = 100


def with_intervals(part: Groups, measured: Measured) -> dict[str, Figure]:
    """The measured figures of a part, each with its interval over resampled articles."""
    values = measured(part, order_of(part.relevant, part.others))
    groups = merged(part, _MOST_GROUPS)
    samples = [measured(groups, order) for order in _resamples(groups)]
    return {name: figure(float(value), np.concatenate([sample[name] for sample in samples])) for name, value in values.items()}


def _resamples(part: Groups) -> Iterator[Order]:
    """The order of RESAMPLES resamples of a part, several at once: arrays of shape (resamples, groups)."""
    random = np.random.default_rng(_SEED)

    def drawn(articles: NDArray[np.int64]) -> NDArray[np.int64]:
        total, weights = int(articles.sum()), articles.astype(np.float64)
        # A perfect order of few articles proves little. So each class has half an article more at both ends of the order.
        weights[0] += _PRIOR
        weights[-1] += _PRIOR
        return random.multinomial(total, weights / weights.sum(), size=_AT_ONCE)

    for _ in range(RESAMPLES // _AT_ONCE):
        yield order_of(drawn(part.relevant), drawn(part.others))


def rates(*counts: tuple[int, int]) -> tuple[NDArray[np.float64], ...]:
    """Plausible shares of selected articles, float64 (RESAMPLES,), for each class with these numbers of selected and other articles.

    This is the Bayesian bootstrap of a count.
    """
    random = np.random.default_rng(_SEED)
    return tuple(random.beta(selected + _PRIOR, others + _PRIOR, RESAMPLES) for selected, others in counts)


def figure(value: float, samples: NDArray[np.float64]) -> Figure:
    """A value with the middle 95 % of its samples. The interval includes the value."""
    low, high = np.quantile(samples, _ENDS)
    return Figure(value=value, low=min(_short(low), value), high=max(_short(high), value))


def _short(value: float) -> float:
    return float(f"{value:.6g}")
