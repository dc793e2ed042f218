"""The models of one subject together: what each selects, what they select by any, majority and all, and how often they agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from gregory.ml.config import Algorithm
from gregory.ml.predictions import Prediction
from gregory.ml.unseen import learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A model of the subject, with its own threshold."""

    algorithm: Algorithm
    version: str
    threshold: float
    predictions: Sequence[Prediction]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The selected articles of a model or of a rule. found: those that are relevant."""

    name: str
    selected: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """The decisions about the articles that no member has learned and of which each member has a probability.

    models: what each member selects. rules: what at least one, more than half, and all of them select.
    votes: for 0, 1, 2 ... models, the articles that this number of models selects, and the relevant ones of them.
    pairs: the share of articles with the same decision, for each pair of algorithms.
    """

    articles: int
    relevant: int
    models: tuple[Selected, ...]
    rules: tuple[Selected, ...]
    votes: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[str, str, float], ...]


def consensus(members: Sequence[Member]) -> Consensus:
    """The members together. Without a common article, every number is 0."""
    labels = _common(members)
    decisions = [_selected(member, labels) for member in members]
    votes = {digest: sum(digest in decision for decision in decisions) for digest in labels}
    needed = (("any", 1), ("majority", len(members) // 2 + 1), ("all", len(members)))
    agreeing = ((members[one].algorithm, members[other].algorithm, decisions[one] ^ decisions[other]) for one, other in _pairs(members))
    return Consensus(
        articles=len(labels),
        relevant=sum(labels.values()),
        models=tuple(_counted(member.algorithm, chosen, labels) for member, chosen in zip(members, decisions, strict=True)),
        rules=tuple(_counted(name, {digest for digest, count in votes.items() if count >= least}, labels) for name, least in needed),
        votes=tuple(_split(number, votes, labels) for number in range(len(members) + 1)),
        pairs=tuple((one, other, 1 - len(different) / len(labels)) for one, other, different in agreeing) if labels else (),
    )


def _pairs(members: Sequence[Member]) -> list[tuple[int, int]]:
    return list(combinations(range(len(members)), 2))


def _common(members: Sequence[Member]) -> dict[str, int]:
    """The labels of the common articles by text hash. The label is that of the first member."""
    ids: set[int] = set()
    hashes: set[str] = set()
    for member in members:
        known = learned(member.algorithm, member.predictions)
        ids |= known[0]
        hashes |= known[1]
    answered = [{one.text_hash for one in member.predictions if one.probability is not None} for member in members]
    common = set.intersection(*answered) - hashes if answered else set()
    first = members[0].predictions if members else ()
    return {one.text_hash: one.label for one in first if one.text_hash in common and one.article_id not in ids}


def _selected(member: Member, labels: dict[str, int]) -> set[str]:
    reached = (one for one in member.predictions if one.probability is not None and one.probability >= member.threshold)
    return {one.text_hash for one in reached} & labels.keys()


def _counted(name: str, chosen: set[str], labels: dict[str, int]) -> Selected:
    return Selected(name=name, selected=len(chosen), found=sum(labels[digest] for digest in chosen))


def _split(number: int, votes: dict[str, int], labels: dict[str, int]) -> tuple[int, int]:
    chosen = [digest for digest, count in votes.items() if count == number]
    return len(chosen), sum(labels[digest] for digest in chosen)
