"""The flags of a new training and their effect on the plan and the rows."""

import re
from datetime import datetime

import pytest

from gregory.ml.config import ALGORITHMS
from gregory.models import PredictionRunLog
from gregory.runs.models import TrainingRun
from tests.commands.command_line import DAY, MS, WINDOW, Result, plan, rows
from tests.database_rows import label_articles, make_subject, make_team

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.mark.parametrize(
    ("flags", "labels"),
    [
        (("--team", "neurology"), ["neurology/als", "neurology/ms"]),
        (MS, ["neurology/ms"]),
        (("--all-teams",), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", "--team", "oncology"), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", *MS), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", "--team", "no such", "--subject", "thing"), ["neurology/als", "neurology/ms", "oncology/lung"]),
        (("--all-teams", "--subject", "thing"), ["neurology/als", "neurology/ms", "oncology/lung"]),
    ],
)
def test_the_scope_flags_select_the_subjects(run, feed, flags: tuple[str, ...], labels: list[str]):
    rows = plan(run, *flags, "--algo", "lstm")
    assert [f"{row['team']}/{row['subject']}" for row in rows] == labels


def test_the_longest_slug_beyond_ascii(run, models):
    slug = "Größenwahn-神経-" + "ß" * 36
    assert len(slug) == 50
    label_articles(make_subject(make_team(slug), slug))
    done = run("--team", slug, "--subject", slug, "--algo", "lstm", "--runner", "instant")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f" INFO {TrainingRun.objects.get().run_id} {slug}/{slug}/lstm: Finished version {DAY}\n")
    assert rows() == [(slug, "lstm", DAY, True)]


@pytest.mark.parametrize(
    ("flags", "cutoff", "window"),
    [
        ((), "2025-03-16T12:30:00+00:00", WINDOW),
        (("--lookback-days", "7"), "2025-06-07T12:30:00+00:00", "articles of the last 7 days, discovered since 2025-06-07 12:30 UTC"),
        (("--lookback-days", "1"), "2025-06-13T12:30:00+00:00", "articles of the last 1 day, discovered since 2025-06-13 12:30 UTC"),
        (("--all-articles",), None, "all articles"),
    ],
)
def test_the_window_flags_set_the_cutoff(run, feed, flags: tuple[str, ...], cutoff: str | None, window: str):
    (planned,) = plan(run, *MS, "--algo", "lstm", *flags)
    assert (planned["cutoff"], planned["window"]) == (cutoff, window)

    assert run(*MS, "--algo", "lstm", "--runner", "instant", *flags).code == 0
    recorded = TrainingRun.objects.get().spec["window"]
    assert (recorded["cutoff"] and datetime.fromisoformat(recorded["cutoff"]).isoformat(), recorded["description"]) == (cutoff, window)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), ALGORITHMS),
        (("--algo", "lstm,pubmed_bert,lgbm_tfidf"), ("lstm", "pubmed_bert", "lgbm_tfidf")),
        (("--algo", "lgbm_tfidf,lstm,lgbm_tfidf"), ("lgbm_tfidf", "lstm")),
        (("--algo", " lstm , lgbm_tfidf,"), ("lstm", "lgbm_tfidf")),
    ],
)
def test_the_rows_have_the_order_of_the_algorithms(run, feed, flags: tuple[str, ...], expected: tuple[str, ...]):
    done = run(*MS, "--runner", "instant", *flags)
    assert (done.code, done.err) == (0, "")
    assert rows() == [("ms", algorithm, DAY, True) for algorithm in expected]
    assert [algorithm["algorithm"] for algorithm in TrainingRun.objects.get().spec["algorithms"]] == list(expected)


def test_the_specification_has_a_word_about_titles_only_if_they_are_left_out(run, feed):
    run(*MS, "--algo", "lstm", "--runner", "instant")
    run("--team", "neurology", "--subject", "als", "--algo", "lstm", "--runner", "instant", "--no-titles")
    als, ms = [training.spec for training in TrainingRun.objects.order_by("subject__subject_slug")]
    assert als["titles"] is False
    # So an older version can start this run.
    assert "titles" not in ms


def test_the_threshold_and_pseudo_labels_are_recorded(run, feed):
    run(*MS, "--algo", "lstm", "--runner", "instant", "--prob-threshold", "0.35", "--pseudo-label")
    run("--team", "neurology", "--subject", "als", "--algo", "lstm", "--runner", "instant")
    configs = [training.spec["config"] for training in TrainingRun.objects.order_by("subject__subject_slug")]
    assert [(config["prob_threshold"], config["pseudo_label"]) for config in configs] == [(0.8, False), (0.35, True)]


def test_every_row_has_the_user_of_the_command(run, feed):
    run(*MS, "--algo", "lstm", "--runner", "instant")
    row = PredictionRunLog.objects.get()
    assert re.fullmatch(r"train_models \S+@\S+", row.triggered_by)
    assert (row.run_type, row.team.slug, row.error_message) == ("train", "neurology", None)
    assert row.run_finished is not None


@pytest.mark.parametrize("version", ["release-1.0", "v" * 100, "7"])
def test_version_replaces_the_flag_of_django(run, feed, version: str):
    done = run(*MS, "--version", version, "--algo", "lstm,lgbm_tfidf", "--runner", "instant")
    assert (done.code, done.err) == (0, "")
    assert rows() == [("ms", "lstm", version, True), ("ms", "lgbm_tfidf", version, True)]


def test_the_next_run_of_a_day_has_the_next_suffix(run, feed):
    for _ in range(3):
        assert run(*MS, "--algo", "lstm", "--runner", "instant").code == 0
    assert [version for _, _, version, _ in rows()] == [DAY, f"{DAY}_2", f"{DAY}_3"]


def refused_version(done: Result) -> None:
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(
        "\nCommandError: --version v1: neurology/ms/lstm already has this version; versions are never overwritten, choose another\n"
    )


def test_a_version_of_a_row_is_refused(run, feed, models):
    assert run(*MS, "--version", "v1", "--algo", "lstm", "--runner", "instant").code == 0
    assert not (models / "neurology").exists()

    refused_version(run(*MS, "--version", "v1", "--runner", "instant"))

    assert rows() == [("ms", "lstm", "v1", True)]


def test_a_version_of_a_folder_is_refused(run, feed, models):
    (models / "neurology" / "ms" / "lstm" / "v1").mkdir(parents=True)

    refused_version(run("--team", "neurology", "--version", "v1", "--runner", "instant"))

    assert rows() == []
