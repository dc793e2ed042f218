"""Training, validation and test parts: stratified, with a seed, and equal for all algorithms of a run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gregory.ml.config import SplitConfig
from gregory.ml.dataset import Dataset, Example
from gregory.ml.errors import StratificationError

# With fewer examples of a class, one of the three parts has none.
MINIMUM_PER_CLASS = 3
_WIDEN = "or widen the window with --lookback-days N or --all-articles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """texts: n strings. labels: int8 array (n,) of 0 and 1. article_ids: n ids. All are in the same order."""

    article_ids: tuple[int, ...]
    texts: tuple[str, ...]
    labels: NDArray[np.int8]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "Part":
        """The part with these examples."""
        return cls(
            article_ids=tuple(example.article_id for example in examples),
            texts=tuple(example.text for example in examples),
            labels=np.array([example.label for example in examples], dtype=np.int8),
        )

    def counts(self) -> dict[str, int]:
        """Examples per class."""
        relevant = int(self.labels.sum())
        return {"relevant": relevant, "not_relevant": len(self.texts) - relevant}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three parts without a common text."""

    train: Part
    validation: Part
    test: Part

    def with_more_training(self, examples: Sequence[Example]) -> "Split":
        """The same validation and test parts, with `examples` added to the training part."""
        train = Part(
            article_ids=self.train.article_ids + tuple(example.article_id for example in examples),
            texts=self.train.texts + tuple(example.text for example in examples),
            labels=np.concatenate([self.train.labels, Part.of(examples).labels]),
        )
        return Split(train=train, validation=self.validation, test=self.test)

    def counts(self) -> dict[str, dict[str, int]]:
        """Examples per part and class."""
        return {"train": self.train.counts(), "validation": self.validation.counts(), "test": self.test.counts()}


def require_both_classes(*, relevant: int, not_relevant: int) -> None:
    """Raise StratificationError if a class is too small for three parts. This check is fast and comes before all work."""
    _require_enough(relevant, not_relevant, left_out="")


def stratified(dataset: Dataset, config: SplitConfig) -> Split:
    """Split by label with the configured shares and seed.

    Raises StratificationError if a part would lack a class. Section 3.5 of the specification: such a run is skipped and never split
    without stratification.
    """
    from sklearn.model_selection import train_test_split

    counts = dataset.counts()
    left_out = _left_out(dataset)
    _require_enough(counts["relevant"], counts["not_relevant"], left_out)
    labels = [example.label for example in dataset.examples]
    held_out = config.validation + config.test
    try:
        train, rest = train_test_split(
            dataset.examples, test_size=_articles(len(labels) * held_out), stratify=labels, random_state=config.seed
        )
        validation, test = train_test_split(
            rest,
            test_size=_articles(len(rest) * config.test / held_out),
            stratify=[example.label for example in rest],
            random_state=config.seed,
        )
    except ValueError as error:
        raise StratificationError(_too_few(counts, left_out)) from error
    split = Split(train=Part.of(train), validation=Part.of(validation), test=Part.of(test))
    if any(min(part.values()) == 0 for part in split.counts().values()):
        raise StratificationError(_too_few(counts, left_out))
    return split


def _require_enough(relevant: int, not_relevant: int, left_out: str) -> None:
    if relevant + not_relevant == 0 and not left_out:
        raise StratificationError(
            "no labelled article in the data window; label some, or widen the window with --lookback-days N or --all-articles"
        )
    if min(relevant, not_relevant) < MINIMUM_PER_CLASS:
        raise StratificationError(
            f"a stratified 70/15/15 split needs at least {MINIMUM_PER_CLASS} articles of each class, there are {relevant} relevant and "
            f"{not_relevant} not relevant{left_out}; label more, {_WIDEN}"
        )


def _too_few(counts: dict[str, int], left_out: str) -> str:
    return (
        f"{counts['relevant']} relevant and {counts['not_relevant']} not relevant articles do not fill training, validation and test "
        f"with both classes{left_out}; label more, {_WIDEN}"
    )


def _left_out(dataset: Dataset) -> str:
    # These counts differ from those of the database, so the message has the reason.
    if not dataset.duplicates + dataset.conflicts:
        return ""
    return f" after {dataset.duplicates} repeated and {dataset.conflicts} contradictory texts were left out"


def _articles(share: float) -> int:
    # Rounded first, because 0.1 + 0.2 is a little more than 0.3, and training would lose an article.
    return math.ceil(round(share, 6))
