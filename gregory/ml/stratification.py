"""The sizes of the parts, and the numbers of articles with which every part gets both classes. No NumPy, so the commands can use it.

scikit-learn gives each part its share of a class, rounded to the nearest number. Exactly between two numbers, the seed decides.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from gregory.ml.config import SplitConfig
from gregory.ml.errors import StratificationError

_WIDEN = ", or widen the window with --lookback-days N or --all-articles"
# With nine relevant articles in the test part, one article changes recall by eleven points.
FEW_ARTICLES = 10
# The shares of a class repeat with the total, so more totals give no other result.
_TOTALS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """The labels of a subject. error: why no training is possible. advice: which labels the figures of its models lack."""

    relevant: int
    not_relevant: int
    error: StratificationError | None = None
    advice: str = ""


def prospect(relevant: int, not_relevant: int, config: SplitConfig, *, whole: bool = False) -> Prospect:
    """Whether a training with these numbers of articles is possible, and what it lacks. whole: as in `require_possible`."""
    try:
        require_possible(relevant, not_relevant, config, whole=whole)
    except StratificationError as error:
        return Prospect(relevant=relevant, not_relevant=not_relevant, error=error)
    needed = math.ceil(FEW_ARTICLES / config.test)
    classes = (("relevant", relevant), ("not relevant", not_relevant))
    missing = " and ".join(f"{needed - number} more {name}" for name, number in classes if number < needed)
    advice = f"too few for certain test figures: label {missing}" if missing else ""
    return Prospect(relevant=relevant, not_relevant=not_relevant, advice=advice)


def part_sizes(total: int, config: SplitConfig) -> tuple[int, int]:
    """The articles of validation and test together, and those of test."""
    held_out = config.validation + config.test
    outside_training = _articles(total * held_out)
    return outside_training, _articles(outside_training * config.test / held_out)


def require_possible(relevant: int, not_relevant: int, config: SplitConfig, *, left_out: str = "", whole: bool = False) -> None:
    """Raise StratificationError if with every seed a part would lack a class.

    left_out: the cause of smaller counts, for the message. whole: these are all articles, so the message advises no larger window.
    """
    if not any(_filled(relevant, not_relevant, config)):
        raise too_few(relevant, not_relevant, config, left_out=left_out, whole=whole)


def is_certain(relevant: int, not_relevant: int, config: SplitConfig) -> bool:
    """Whether with every seed every part gets both classes."""
    return all(_filled(relevant, not_relevant, config))


def too_few(relevant: int, not_relevant: int, config: SplitConfig, *, left_out: str = "", whole: bool = False) -> StratificationError:
    """The error of a split in which a part lacks a class."""
    widen = "" if whole else _WIDEN
    if relevant + not_relevant == 0 and not left_out:
        return StratificationError(f"no labelled article{'' if whole else ' in the data window'}; label some{widen}")
    shares = "/".join(f"{100 * share:g}" for share in (round(1 - config.validation - config.test, 6), config.validation, config.test))
    return StratificationError(
        f"a stratified {shares} split needs both classes in every part: {enough(config)} articles of each class are always enough, "
        f"there are {relevant} relevant and {not_relevant} not relevant{left_out}; label more{widen}"
    )


def enough(config: SplitConfig) -> int:
    """The least number of articles of each class with which every part gets both classes, with every seed and every total."""
    smallest = min(1 - config.validation - config.test, config.validation, config.test)
    for number in count(max(2, math.floor(0.5 / smallest))):
        if all(is_certain(number, other, config) for other in range(number, number + _TOTALS)):
            return number
    raise AssertionError


def _filled(relevant: int, not_relevant: int, config: SplitConfig) -> Iterator[bool]:
    """Whether every part gets both classes, for each decision of the seed."""
    total = relevant + not_relevant
    outside_training, test = part_sizes(total, config)
    sizes = (total - outside_training, outside_training - test, test)
    for outside in _nearest(relevant * outside_training, total):
        for tested in _nearest(outside * test, outside_training):
            parts = (relevant - outside, outside - tested, tested)
            yield all(0 < part < size for part, size in zip(parts, sizes, strict=True))


def _nearest(numerator: int, denominator: int) -> tuple[int, ...]:
    """The nearest whole number of a fraction, or the two nearest."""
    below, rest = divmod(numerator, max(denominator, 1))
    if 2 * rest == denominator:
        return below, below + 1
    return (below + (2 * rest > denominator),)


def _articles(share: float) -> int:
    # Rounded first, because 0.1 + 0.2 is a little more than 0.3, and training would lose an article.
    return math.ceil(round(share, 6))
