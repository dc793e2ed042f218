"""The models of one subject together."""

from collections.abc import Sequence
from typing import Any

from gregory.ml.consensus import Consensus, Member, Selected, consensus
from gregory.ml.predictions import Prediction


def member(algorithm: Any, answers: Sequence[float], *, part: Any = "test", threshold: float = 0.5) -> Member:
    """A model with these answers to articles 0, 1, 2 ... The first half is relevant."""
    rows = tuple(
        Prediction(
            article_id=number,
            part=part,
            label=int(number < len(answers) / 2),
            pseudo_label=False,
            probability=answer,
            text_hash=f"{number}",
        )
        for number, answer in enumerate(answers)
    )
    return Member(algorithm=algorithm, version="1", threshold=threshold, predictions=rows)


def test_what_each_model_and_each_rule_selects():
    members = [
        member("pubmed_bert", [0.9, 0.9, 0.9, 0.1, 0.1, 0.1]),
        member("lgbm_tfidf", [0.9, 0.9, 0.1, 0.9, 0.1, 0.1]),
        member("lstm", [0.9, 0.1, 0.1, 0.9, 0.1, 0.8], threshold=0.85),
    ]

    assert consensus(members) == Consensus(
        articles=6,
        relevant=3,
        models=(
            Selected(name="pubmed_bert", selected=3, found=3),
            Selected(name="lgbm_tfidf", selected=3, found=2),
            Selected(name="lstm", selected=2, found=1),
        ),
        rules=(
            Selected(name="any", selected=4, found=3),
            Selected(name="majority", selected=3, found=2),
            Selected(name="all", selected=1, found=1),
        ),
        votes=((2, 0), (1, 1), (2, 1), (1, 1)),
        pairs=(("pubmed_bert", "lgbm_tfidf", 1 - 2 / 6), ("pubmed_bert", "lstm", 0.5), ("lgbm_tfidf", "lstm", 1 - 1 / 6)),
    )


def test_articles_from_which_a_member_has_learned_are_left_out():
    done = consensus([member("lgbm_tfidf", [0.9, 0.1]), member("lstm", [0.9, 0.1], part="validation")])

    assert (done.articles, done.pairs) == (0, ())


def test_no_member_gives_no_articles():
    assert consensus([]).articles == 0
