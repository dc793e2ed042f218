"""Flags -> TrainingRequest: the rules of the flags, without a database and a parser."""

from math import inf, nan
from typing import Any

import pytest

from gregory.ml.config import ALGORITHMS, Hyperparameters, LgbmConfig, TrainConfig
from gregory.ml.gate import GateConfig
from gregory.training.flags import TrainFlags
from gregory.training.request import TrainingRequest, UsageError, from_flags


def request(**flags: Any) -> TrainingRequest:
    return from_flags(TrainFlags(**{"team": "neurology", **flags}), hyperparameters=Hyperparameters())


def refusal(**flags: Any) -> str:
    with pytest.raises(UsageError) as caught:
        request(**flags)
    return str(caught.value)


def test_defaults():
    assert request() == TrainingRequest(
        team="neurology",
        subject=None,
        lookback_days=90,
        algorithms=("pubmed_bert", "lgbm_tfidf", "lstm"),
        version=None,
        config=TrainConfig(prob_threshold=0.8, pseudo_label=False, hyperparameters=Hyperparameters()),
        verbosity=1,
    )


def test_the_request_has_the_values_of_all_flags():
    hyperparameters = Hyperparameters(lgbm=LgbmConfig(rounds=5))
    flags = TrainFlags(
        team="neurology",
        subject="ms",
        lookback_days=7,
        algo="lstm",
        model_version="v1",
        verbose=3,
        prob_threshold=0.35,
        pseudo_label=True,
        no_titles=True,
    )
    assert from_flags(flags, hyperparameters=hyperparameters) == TrainingRequest(
        team="neurology",
        subject="ms",
        lookback_days=7,
        algorithms=("lstm",),
        version="v1",
        config=TrainConfig(prob_threshold=0.35, pseudo_label=True, hyperparameters=hyperparameters),
        verbosity=3,
        titles=False,
    )


def test_no_scope_is_refused():
    assert refusal(team=None) == "nothing to train: give --team SLUG, or --all-teams"


def test_a_subject_without_a_team_is_refused():
    assert refusal(team=None, subject="ms") == "--subject ms needs --team: a subject slug is unique only within its team"


@pytest.mark.parametrize(("team", "subject"), [("neurology", None), ("neurology", "ms"), (None, "ms"), ("no such team", "nor subject")])
def test_all_teams_ignores_team_and_subject(team: str | None, subject: str | None):
    wanted = request(all_teams=True, team=team, subject=subject)
    assert (wanted.team, wanted.subject) == (None, None)


def test_all_articles_has_no_lookback_window():
    assert request(all_articles=True).lookback_days is None


@pytest.mark.parametrize("days", [90, 1, 0])
def test_all_articles_excludes_any_number_of_days(days: int):
    assert refusal(all_articles=True, lookback_days=days) == "--all-articles and --lookback-days exclude each other: give one of them"


@pytest.mark.parametrize("days", [1, 90, 36_500])
def test_accepted_lookback_days(days: int):
    assert request(lookback_days=days).lookback_days == days


@pytest.mark.parametrize("days", [0, -3, 36_501, 1_000_000])
def test_refused_lookback_days(days: int):
    assert refusal(lookback_days=days) == f"--lookback-days {days} must be from 1 to 36500; for every article use --all-articles"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lstm,pubmed_bert", ("lstm", "pubmed_bert")),
        ("lgbm_tfidf,lstm,lgbm_tfidf,lstm", ("lgbm_tfidf", "lstm")),
        (" lstm , lgbm_tfidf ", ("lstm", "lgbm_tfidf")),
        (",lstm,,lgbm_tfidf,", ("lstm", "lgbm_tfidf")),
        ("lstm,lgbm_tfidf,pubmed_bert", ("lstm", "lgbm_tfidf", "pubmed_bert")),
    ],
)
def test_algorithms_keep_their_order_without_repetition(text: str, expected: tuple[str, ...]):
    assert request(algo=text).algorithms == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("svm", "svm"),
        ("lstm,svm,bert,svm", "svm, bert"),
        ("LSTM", "LSTM"),
        ("lstm lgbm_tfidf", "lstm lgbm_tfidf"),
        ("", "(none given)"),
        (" , ,", "(none given)"),
    ],
)
def test_an_unknown_algorithm_is_named(text: str, named: str):
    assert refusal(algo=text) == f"--algo {text!r}: unknown algorithm {named}; choose from {', '.join(ALGORITHMS)}"


@pytest.mark.parametrize("value", [0.5, 0.001, 0.999])
def test_accepted_thresholds(value: float):
    assert request(prob_threshold=value).config.prob_threshold == value


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (1.0, "1"), (1.5, "1.5"), (-0.2, "-0.2"), (nan, "nan"), (inf, "inf"), (-inf, "-inf")]
)
def test_refused_thresholds(value: float, shown: str):
    assert refusal(prob_threshold=value) == f"--prob-threshold {shown} must be greater than 0 and less than 1"


@pytest.mark.parametrize("version", ["20250614_2", "v1.0", "release-3", "7", "x" * 100])
def test_accepted_versions(version: str):
    assert request(model_version=version).version == version


@pytest.mark.parametrize("version", ["", "../x", ".x", "a b", "x" * 101, "versão", "a/b", "-x", "x\n"])
def test_refused_versions(version: str):
    assert refusal(model_version=version) == (
        f"--version {version!r} cannot name a model: use 1 to 100 of a-z A-Z 0-9 . _ - and start with a letter or digit"
    )


def test_the_scope_is_checked_first():
    assert refusal(team=None, algo="svm", prob_threshold=7.0) == "nothing to train: give --team SLUG, or --all-teams"


def test_a_training_promotes_nothing_by_default():
    assert request().gate is None


def test_the_flag_comes_before_the_margin_of_the_installation():
    flags = {"hyperparameters": Hyperparameters(), "promote_margin": 0.1, "promote_minimum": 5}

    assert from_flags(TrainFlags(team="neurology"), **flags).gate == GateConfig(margin=0.1, minimum=5)
    assert from_flags(TrainFlags(team="neurology", promote_if_not_worse=0.0), **flags).gate == GateConfig(margin=0.0, minimum=5)


@pytest.mark.parametrize(("value", "shown"), [(-0.1, "-0.1"), (1.0, "1"), (nan, "nan"), (inf, "inf")])
def test_a_margin_that_is_no_difference_of_areas_is_refused(value: float, shown: str):
    limits = "must be at least 0 and less than 1; 0.02 is two points of ROC AUC"
    assert refusal(promote_if_not_worse=value) == f"--promote-if-not-worse {shown} {limits}"
