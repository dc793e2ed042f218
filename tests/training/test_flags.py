"""The declared flags: how a parser reads them, and which of them --resume excludes."""

from argparse import ArgumentParser
from dataclasses import dataclass, fields

import pytest

from gregory.training.flags import ScopeFlags, TrainFlags, add_arguments, flag
from gregory.training.request import UsageError, run_to_resume


def parse(flags: type[ScopeFlags], *argv: str) -> ScopeFlags:
    parser = ArgumentParser()
    add_arguments(parser, flags)
    return flags.from_options(vars(parser.parse_args(argv)))


def refusal(flags: TrainFlags) -> str:
    with pytest.raises(UsageError) as caught:
        run_to_resume(flags)
    return str(caught.value)


def test_without_arguments_every_flag_has_its_default():
    assert parse(TrainFlags) == TrainFlags()


def test_every_flag_arrives_in_its_field():
    argv = "--team t --subject s --all-teams --all-articles --lookback-days 3 --algo lstm --prob-threshold 0.5 --version v --pseudo-label"
    more = "--no-titles --verbose 2 --runner docker --wait --resume abc --dry-run --output json"

    assert parse(TrainFlags, *argv.split(), *more.split()) == TrainFlags(
        team="t",
        subject="s",
        all_teams=True,
        all_articles=True,
        lookback_days=3,
        algo="lstm",
        prob_threshold=0.5,
        model_version="v",
        pseudo_label=True,
        no_titles=True,
        verbose=2,
        runner="docker",
        wait=True,
        resume="abc",
        dry_run=True,
        output="json",
    )


def test_a_flag_that_the_parser_does_not_have_gets_its_default():
    assert ScopeFlags.from_options({"team": "t", "verbosity": 1}) == ScopeFlags(team="t")
    assert TrainFlags.from_options({"team": "t"}) == TrainFlags(team="t")


def test_resume_alone_names_its_run():
    assert run_to_resume(TrainFlags(resume="abc")) == "abc"


def test_a_new_training_names_no_run():
    assert run_to_resume(TrainFlags(team="neurology", dry_run=True)) is None


def test_resume_takes_verbosity_runner_and_wait():
    assert run_to_resume(TrainFlags(resume="abc", verbose=3, runner="local", wait=True)) == "abc"
    assert [one.name for one in fields(TrainFlags) if one.metadata["with_resume"]] == ["verbose", "runner", "wait", "resume"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--team", "neurology"],
        ["--subject", "ms"],
        ["--all-teams"],
        ["--all-articles"],
        ["--lookback-days", "90"],
        ["--lookback-days", "0"],
        ["--algo", ""],
        ["--prob-threshold", "0.8"],
        ["--version", "v1"],
        ["--pseudo-label"],
        ["--no-titles"],
        ["--dry-run"],
        ["--output", "json"],
    ],
)
def test_resume_excludes_the_flags_that_the_stored_specification_has(argv: list[str]):
    flags = parse(TrainFlags, "--resume", "abc", *argv)

    assert isinstance(flags, TrainFlags)
    assert refusal(flags) == f"--resume and {argv[0]} exclude each other: run abc continues with its stored specification"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagsOfTheNextVersion(TrainFlags):
    """TrainFlags with a flag that mentions nothing about --resume."""

    folds: int | None = flag("--folds", default=None, type=int)


def test_a_new_flag_is_refused_beside_resume_by_default():
    flags = parse(FlagsOfTheNextVersion, "--resume", "abc", "--folds", "5")

    assert isinstance(flags, FlagsOfTheNextVersion)
    assert flags.folds == 5
    assert refusal(flags) == "--resume and --folds exclude each other: run abc continues with its stored specification"
