"""The articles from which a model has learned. All others are unseen by it."""

from collections.abc import Iterable

from gregory.ml.config import Algorithm
from gregory.ml.predictions import Prediction

_WITHOUT_EARLY_STOP: tuple[Algorithm, ...] = ("lgbm_tfidf",)


def learned(algorithm: Algorithm, predictions: Iterable[Prediction]) -> tuple[set[int], set[str]]:
    """The ids and the text hashes of the articles from which a model has learned.

    The validation part counts if it ends the training.
    """
    parts = {"train"} if algorithm in _WITHOUT_EARLY_STOP else {"train", "validation"}
    found = [one for one in predictions if one.part in parts]
    return {one.article_id for one in found}, {one.text_hash for one in found}
