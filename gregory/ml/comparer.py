"""Predictions of two models -> comparison. No input and no output.

The bootstrap is paired: in each resample both models have the same articles. It is stratified and has a seed, as that of
`gregory.ml.bootstrap`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gregory.ml.bootstrap import RESAMPLES, figure
from gregory.ml.comparison import AREAS, Comparison, Flip, Measured
from gregory.ml.config import Algorithm
from gregory.ml.dataset import Example
from gregory.ml.predictions import Prediction, text_hash
from gregory.ml.ranking import order_of, pr_auc, roc_auc
from gregory.ml.unseen import learned

MOST_FLIPS = 50
_SEED = 69
# Limits the memory.
_AT_ONCE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model: its predictions, its threshold, and its answers to texts. predict: probabilities (n,) of n texts."""

    algorithm: Algorithm
    threshold: float
    predictions: Sequence[Prediction]
    predict: Callable[[Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Article:
    """An article of which both models can be asked. text: None if only its hash is known."""

    article_id: int
    label: int
    hash: str
    text: str | None


def compare(first: Model, second: Model, examples: Iterable[Example] = (), *, minimum: int) -> Comparison:
    """Compare two models on the articles from which neither has learned.

    examples: articles with their present text and label, without repeated texts. Without them, only articles of which both models have
    a stored probability are compared, with the label that the second model has.
    """
    universe = _universe(first, second, examples)
    (ids, hashes), (other_ids, other_hashes) = (learned(model.algorithm, model.predictions) for model in (first, second))
    ids |= other_ids
    hashes |= other_hashes
    unseen = [article for article in universe if article.article_id not in ids and article.hash not in hashes]
    stored = [_stored(model) for model in (first, second)]
    usable = [article for article in unseen if article.text is not None or all(article.hash in known for known in stored)]
    answers = tuple(_answers(model, known, usable) for model, known in zip((first, second), stored, strict=True))
    thresholds = (first.threshold, second.threshold)
    labels = np.array([article.label for article in usable], dtype=np.int8)
    flips = _flips(usable, answers, thresholds)
    return Comparison(
        relevant=int(labels.sum()),
        not_relevant=int((labels == 0).sum()),
        learned=len(universe) - len(unseen),
        unasked=len(unseen) - len(usable),
        asked=sum(article.hash not in known for known in stored for article in usable),
        minimum=minimum,
        thresholds=thresholds,
        figures=_figures(labels, answers, thresholds) if len(np.unique(labels)) == 2 else {},
        flipped=len(flips),
        flips=tuple(flips[:MOST_FLIPS]),
    )


def _universe(first: Model, second: Model, examples: Iterable[Example]) -> list[_Article]:
    """The articles by hash: the examples, then the reviewed articles of both models that no example has."""
    found: dict[str, _Article] = {}
    for example in examples:
        digest = text_hash(example.text)
        found[digest] = _Article(article_id=example.article_id, label=example.label, hash=digest, text=example.text)
    ids = {article.article_id for article in found.values()}
    for model in (second, first):
        for one in model.predictions:
            # Of an article with several texts, the present one counts, else that of the second model.
            if not one.pseudo_label and one.text_hash not in found and one.article_id not in ids:
                found[one.text_hash] = _Article(article_id=one.article_id, label=one.label, hash=one.text_hash, text=None)
                ids.add(one.article_id)
    return list(found.values())


def _stored(model: Model) -> dict[str, float]:
    return {one.text_hash: one.probability for one in model.predictions if one.probability is not None}


def _answers(model: Model, stored: Mapping[str, float], articles: Sequence[_Article]) -> NDArray[np.float64]:
    """The probability of each article, from the stored ones or from the model."""
    texts = {article.hash: article.text for article in articles if article.hash not in stored and article.text is not None}
    asked = dict(zip(texts, model.predict(list(texts.values())).tolist(), strict=True)) if texts else {}
    return np.array([stored[article.hash] if article.hash in stored else asked[article.hash] for article in articles], dtype=np.float64)


def _flips(articles: Sequence[_Article], answers: tuple[NDArray[np.float64], ...], thresholds: tuple[float, float]) -> list[Flip]:
    pairs = zip(articles, *(one.tolist() for one in answers), strict=True)
    flips = [
        Flip(article_id=article.article_id, label=article.label, first=first, second=second)
        for article, first, second in pairs
        if (first >= thresholds[0]) != (second >= thresholds[1])
    ]
    return sorted(flips, key=lambda flip: (-abs(flip.second - flip.first), flip.article_id))


def _figures(labels: NDArray[np.int8], answers: tuple[NDArray[np.float64], ...], thresholds: tuple[float, float]) -> dict[str, Measured]:
    """The figures of both models, and the interval of each difference over resamples of the same articles."""
    both = list(zip(answers, thresholds, strict=True))
    chunks = [[_measured(labels, *scored, weights) for scored in both] for weights in _weights(labels)]
    figures = {}
    for name in chunks[0][0]:
        one, other = (np.concatenate([chunk[position][name] for chunk in chunks]) for position in (0, 1))
        difference = other - one
        figures[name] = Measured(first=float(one[0]), second=float(other[0]), difference=figure(float(difference[0]), difference[1:]))
    return figures


def _weights(labels: NDArray[np.int8]) -> Iterator[NDArray[np.int64]]:
    """How often each article counts, several rows at once, int64 (rows, n): once, then its number in each of RESAMPLES resamples.

    Each class keeps its number of articles.
    """
    yield np.ones((1, len(labels)), dtype=np.int64)
    random, size = np.random.default_rng(_SEED), max(1, _AT_ONCE // len(labels))
    for start in range(0, RESAMPLES, size):
        weights = np.zeros((min(size, RESAMPLES - start), len(labels)), dtype=np.int64)
        for label in (0, 1):
            (places,) = np.nonzero(labels == label)
            weights[:, places] = random.multinomial(len(places), np.full(len(places), 1 / len(places)), size=len(weights))
        yield weights


def _measured(
    labels: NDArray[np.int8], probabilities: NDArray[np.float64], threshold: float, weights: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """The figures of each row of weights."""
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    starts = np.concatenate([[0], np.nonzero(np.diff(falling))[0] + 1])
    sorted_labels, sorted_weights = labels[order], weights[:, order]
    relevant = np.add.reduceat(sorted_weights * sorted_labels, starts, axis=-1)
    ranked = order_of(relevant, np.add.reduceat(sorted_weights * (1 - sorted_labels), starts, axis=-1))
    found = (relevant * (falling[starts] >= threshold)).sum(axis=-1)
    areas = dict(zip(AREAS, (roc_auc(ranked), pr_auc(ranked)), strict=True))
    return {**areas, "recall": found / relevant.sum(axis=-1)}
