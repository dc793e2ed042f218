"""Training, validation and test parts: stratified, with a seed, and equal for all algorithms of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gregory.ml.config import SplitConfig
from gregory.ml.dataset import Dataset, Example
from gregory.ml.stratification import part_sizes, require_possible, too_few


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


def stratified(dataset: Dataset, config: SplitConfig, *, whole: bool = False) -> Split:
    """Split by label with the configured shares and seed.

    whole: the data set has all articles of the subject. Raises StratificationError if a part would lack a class. Section 3.5 of the
    specification: such a run is skipped and never split without stratification.
    """
    counts, left_out = dataset.counts(), _left_out(dataset)
    require_possible(**counts, config=config, left_out=left_out, whole=whole)
    outside_training, test_size = part_sizes(len(dataset.examples), config)
    train, rest = _divided(dataset.examples, outside_training, config.seed)
    if min(Part.of(rest).counts().values()) > 1:
        validation, test = _divided(rest, test_size, config.seed)
        split = Split(train=Part.of(train), validation=Part.of(validation), test=Part.of(test))
        if all(min(part.values()) for part in split.counts().values()):
            return split
    raise too_few(**counts, config=config, left_out=left_out, whole=whole)


def _divided(examples: Sequence[Example], size: int, seed: int) -> tuple[Sequence[Example], Sequence[Example]]:
    """The examples without, and with, the `size` examples of the next part. Each class has at least two."""
    from sklearn.model_selection import train_test_split

    labels = [example.label for example in examples]
    remaining, taken = train_test_split(examples, test_size=size, stratify=labels, random_state=seed)
    return remaining, taken


def _left_out(dataset: Dataset) -> str:
    # These counts differ from those of the database, so the message has the reason.
    if not dataset.duplicates + dataset.conflicts:
        return ""
    return f" after {dataset.duplicates} repeated and {dataset.conflicts} contradictory texts were left out"
