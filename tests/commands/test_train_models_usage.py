"""Flags that `train_models` refuses: message, usage and exit code. It writes nothing."""

import io

import pytest
from django.core.management import CommandError, call_command

from tests.commands.command_line import MS, USAGE, assert_nothing_written

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_without_flags_it_prints_its_usage_with_exit_code_2(run, feed, models):
    done = run()
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    for flag in (
        "--all-teams",
        "--all-articles",
        "--lookback-days N",
        "--algo A,B,C",
        "--prob-threshold X",
        "--version V",
        "--pseudo-label",
        "--promote-if-not-worse MARGIN",
        "--resume RUN_ID",
    ):
        assert f"[{flag}]" in done.err
    assert "[--verbose {0,1,2,3}]" in done.err
    assert done.err.endswith("\nCommandError: nothing to train: give --team SLUG, or --all-teams\n")
    assert_nothing_written(models)


def bad_version(version: str) -> str:
    return f"--version {version!r} cannot name a model: use 1 to 100 of a-z A-Z 0-9 . _ - and start with a letter or digit"


def bad_days(days: str) -> str:
    return f"--lookback-days {days} must be from 1 to 36500; for every article use --all-articles"


def bad_threshold(value: str) -> str:
    return f"--prob-threshold {value} must be greater than 0 and less than 1"


def bad_algorithm(text: str, named: str) -> str:
    return f"--algo {text!r}: unknown algorithm {named}; choose from pubmed_bert, lgbm_tfidf, lstm"


LONG = "ü" * 60


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--subject", "ms"), "--subject ms needs --team: a subject slug is unique only within its team"),
        ((*MS, "--all-articles", "--lookback-days", "30"), "--all-articles and --lookback-days exclude each other: give one of them"),
        (
            ("--all-teams", "--all-articles", "--lookback-days", "90"),
            "--all-articles and --lookback-days exclude each other: give one of them",
        ),
        ((*MS, "--lookback-days", "0"), bad_days("0")),
        ((*MS, "--lookback-days", "-3"), bad_days("-3")),
        ((*MS, "--lookback-days", "1000000"), bad_days("1000000")),
        ((*MS, "--algo", "lstm,svm,bert"), bad_algorithm("lstm,svm,bert", "svm, bert")),
        ((*MS, "--algo", ""), bad_algorithm("", "(none given)")),
        ((*MS, "--algo", " , "), bad_algorithm(" , ", "(none given)")),
        ((*MS, "--prob-threshold", "0"), bad_threshold("0")),
        ((*MS, "--prob-threshold", "1"), bad_threshold("1")),
        ((*MS, "--prob-threshold", "1.5"), bad_threshold("1.5")),
        ((*MS, "--prob-threshold", "nan"), bad_threshold("nan")),
        ((*MS, "--prob-threshold", "inf"), bad_threshold("inf")),
        ((*MS, "--version", "../x"), bad_version("../x")),
        ((*MS, "--version", ""), bad_version("")),
        ((*MS, "--version", "v" * 101), bad_version("v" * 101)),
        ((*MS, "--version", ".x"), bad_version(".x")),
        ((*MS, "--version", "a b"), bad_version("a b")),
        ((*MS, "--version", "versão"), bad_version("versão")),
        (("--team", "x"), "unknown team 'x'; teams: idle, neurology, oncology"),
        (("--team", ""), "unknown team ''; teams: idle, neurology, oncology"),
        (("--team", LONG, "--subject", LONG), f"unknown team {LONG!r}; teams: idle, neurology, oncology"),
        (("--team", "neurology", "--subject", "x"), "team 'neurology' has no subject 'x'; its subjects: als, ms"),
        (("--team", "neurology", "--subject", LONG), f"team 'neurology' has no subject {LONG!r}; its subjects: als, ms"),
        (("--team", "neurology", "--subject", "lung"), "team 'neurology' has no subject 'lung'; its subjects: als, ms"),
        (("--team", "idle"), "team 'idle' has no subject"),
        (("--team", "idle", "--subject", "x"), "team 'idle' has no subject 'x'; its subjects: none"),
    ],
)
@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_flags_that_contradict_the_rules_are_refused_with_2(
    run, feed, models, flags: tuple[str, ...], message: str, dry_run: tuple[str, ...]
):
    done = run(*flags, *dry_run)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(f"\nCommandError: {message}\n")
    assert_nothing_written(models)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--lookback-days", "x"), "argument --lookback-days: invalid int value: 'x'"),
        (("--lookback-days", "1.5"), "argument --lookback-days: invalid int value: '1.5'"),
        (("--prob-threshold", "x"), "argument --prob-threshold: invalid float value: 'x'"),
        (("--verbose", "4"), "argument --verbose: invalid choice: 4 (choose from 0, 1, 2, 3)"),
        (("--verbose", "-1"), "argument --verbose: invalid choice: -1 (choose from 0, 1, 2, 3)"),
        (("--verbose", "x"), "argument --verbose: invalid int value: 'x'"),
        (("--version",), "argument --version: expected one argument"),
        (("ms",), "unrecognized arguments: ms"),
    ],
)
def test_values_that_the_parser_cannot_read_are_refused_with_2(run, feed, models, flags: tuple[str, ...], message: str):
    done = run(*MS, *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(f"\nmanage.py train_models: error: {message}\n")
    assert_nothing_written(models)


def test_an_unknown_runner_is_refused_with_the_known_ones(run, feed, models):
    assert run(*MS, "--runner", "moon") == (
        2,
        "",
        "CommandError: --runner: unknown runner 'moon'; choose from local, docker, kubernetes, instant\n",
    )
    assert_nothing_written(models)


def test_all_teams_of_an_empty_database_are_refused(run, models):
    done = run("--all-teams")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("\nCommandError: --all-teams: no team has a subject; create one in GregoryAI, or run load_demo\n")
    assert_nothing_written(models)


def test_call_command_raises_the_same_refusal(run, feed, models):
    err = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("train_models", "--subject", "ms", stdout=io.StringIO(), stderr=err)
    assert str(caught.value) == "--subject ms needs --team: a subject slug is unique only within its team"
    assert caught.value.returncode == 2
    assert err.getvalue().startswith("usage: ")
    assert_nothing_written(models)
