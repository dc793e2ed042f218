"""Flags -> TrainingRequest: the rules between flags, without a database and without argparse."""

from math import inf, nan
from typing import Any

import pytest

from gregory.ml.config import ALGORITHMS, Hyperparameters, LgbmConfig, TrainConfig
from gregory.training.request import TrainingRequest, UsageError, from_flags, run_to_resume

# What argparse gives for `--team neurology` alone.
FLAGS = {
    "team": "neurology",
    "subject": None,
    "all_teams": False,
    "all_articles": False,
    "lookback_days": None,
    "algo": None,
    "prob_threshold": None,
    "model_version": None,
    "pseudo_label": False,
    "verbose": 1,
}


def request(**flags: Any) -> TrainingRequest:
    return from_flags({**FLAGS, **flags}, hyperparameters=Hyperparameters())


def refusal(**flags: Any) -> str:
    with pytest.raises(UsageError) as caught:
        request(**flags)
    return str(caught.value)


def test_the_defaults_are_those_of_the_spec():
    assert request() == TrainingRequest(
        team="neurology",
        subject=None,
        lookback_days=90,
        algorithms=("pubmed_bert", "lgbm_tfidf", "lstm"),
        version=None,
        config=TrainConfig(prob_threshold=0.8, pseudo_label=False, hyperparameters=Hyperparameters()),
        verbosity=1,
    )


def test_what_was_asked_for_arrives():
    hyperparameters = Hyperparameters(lgbm=LgbmConfig(rounds=5))
    flags = {**FLAGS, "subject": "ms", "lookback_days": 7, "algo": "lstm", "model_version": "v1", "verbose": 3}
    assert from_flags({**flags, "prob_threshold": 0.35, "pseudo_label": True}, hyperparameters=hyperparameters) == TrainingRequest(
        team="neurology",
        subject="ms",
        lookback_days=7,
        algorithms=("lstm",),
        version="v1",
        config=TrainConfig(prob_threshold=0.35, pseudo_label=True, hyperparameters=hyperparameters),
        verbosity=3,
    )


def test_without_any_scope_there_is_nothing_to_train():
    assert refusal(team=None) == "nothing to train: give --team SLUG, or --all-teams"


def test_a_subject_alone_names_nothing():
    assert refusal(team=None, subject="ms") == "--subject ms needs --team: a subject slug is unique within its team only"


@pytest.mark.parametrize(("team", "subject"), [("neurology", None), ("neurology", "ms"), (None, "ms"), ("no such team", "nor subject")])
def test_all_teams_ignores_the_narrower_scope(team: str | None, subject: str | None):
    wanted = request(all_teams=True, team=team, subject=subject)
    assert (wanted.team, wanted.subject) == (None, None)


def test_all_articles_means_no_window():
    assert request(all_articles=True).lookback_days is None


@pytest.mark.parametrize("days", [90, 1, 0])
def test_all_articles_excludes_any_number_of_days(days: int):
    assert refusal(all_articles=True, lookback_days=days) == "--all-articles and --lookback-days exclude each other: give one of them"


@pytest.mark.parametrize("days", [1, 90, 36_500])
def test_days_that_can_be_looked_back(days: int):
    assert request(lookback_days=days).lookback_days == days


@pytest.mark.parametrize("days", [0, -3, 36_501, 1_000_000])
def test_days_that_cannot(days: int):
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
def test_algorithms_keep_their_order_each_once(text: str, expected: tuple[str, ...]):
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
def test_thresholds_that_separate(value: float):
    assert request(prob_threshold=value).config.prob_threshold == value


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (1.0, "1"), (1.5, "1.5"), (-0.2, "-0.2"), (nan, "nan"), (inf, "inf"), (-inf, "-inf")]
)
def test_thresholds_that_do_not(value: float, shown: str):
    assert refusal(prob_threshold=value) == f"--prob-threshold {shown} must lie between 0 and 1, both excluded"


@pytest.mark.parametrize("version", ["20250614_2", "v1.0", "release-3", "7", "x" * 100])
def test_versions_that_name_a_model(version: str):
    assert request(model_version=version).version == version


@pytest.mark.parametrize("version", ["", "../x", ".x", "a b", "x" * 101, "versão", "a/b", "-x", "x\n"])
def test_versions_that_cannot(version: str):
    assert refusal(model_version=version) == (
        f"--version {version!r} cannot name a model: use 1 to 100 of a-z A-Z 0-9 . _ - and start with a letter or digit"
    )


def test_the_scope_is_judged_first():
    assert refusal(team=None, algo="svm", prob_threshold=7.0) == "nothing to train: give --team SLUG, or --all-teams"


# What argparse gives for `--resume abc` alone.
RESUME = {**FLAGS, "team": None, "resume": "abc", "dry_run": False}


def test_resume_alone_names_its_run_and_a_new_training_names_none():
    assert run_to_resume(RESUME) == "abc"
    assert run_to_resume({**RESUME, "resume": None, "team": "neurology"}) is None


def test_how_much_is_told_is_asked_anew():
    assert run_to_resume({**RESUME, "verbose": 3}) == "abc"


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [
        ("team", "neurology", "--team"),
        ("subject", "ms", "--subject"),
        ("all_teams", True, "--all-teams"),
        ("all_articles", True, "--all-articles"),
        ("lookback_days", 90, "--lookback-days"),
        ("lookback_days", 0, "--lookback-days"),
        ("algo", "", "--algo"),
        ("prob_threshold", 0.8, "--prob-threshold"),
        ("model_version", "v1", "--version"),
        ("pseudo_label", True, "--pseudo-label"),
        ("dry_run", True, "--dry-run"),
    ],
)
def test_what_the_run_was_asked_then_cannot_be_asked_again(name: str, value: object, flag: str):
    with pytest.raises(UsageError) as caught:
        run_to_resume({**RESUME, name: value})
    assert str(caught.value) == f"--resume and {flag} exclude each other: the specification of run abc is taken as it is"
