"""`train_models --dry-run`: the plan as a table and as JSON."""

import re

import pytest

from gregory.models import ArticleSubjectRelevance, Team
from gregory.runs.models import TrainingRun
from tests.commands.command_line import MS, NOW, WINDOW, assert_nothing_written, plan

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_a_dry_run_prints_the_plan_and_writes_nothing(run, feed, models):
    assert plan(run, *MS, "--prob-threshold", "0.5", "--pseudo-label", "--algo", "lstm", "--version", "v1") == [
        {
            "team": "neurology",
            "subject": "ms",
            "algorithm": "lstm",
            "version": "v1",
            "runner": "local",
            "window": WINDOW,
            "cutoff": "2025-03-16T12:30:00+00:00",
            "relevant": 6,
            "not_relevant": 6,
            "prob_threshold": 0.5,
            "pseudo_label": True,
            "require_gpu": False,
            "advice": "too few for certain test figures: label 61 more relevant and 61 more not relevant",
            "refused": None,
        }
    ]
    assert_nothing_written(models)


def test_a_dry_run_shows_a_required_gpu(run, feed, settings):
    settings.REQUIRE_GPU = True
    assert {row["require_gpu"] for row in plan(run, *MS)} == {True}


def test_table_and_json_of_a_dry_run_are_equal(run, feed, models):
    done = run("--all-teams", "--dry-run")
    assert (done.code, done.err) == (0, "")
    header, rule, *lines = (re.split(r" {2,}", line.rstrip()) for line in done.out.splitlines())
    assert set("".join(rule)) == {"-"}
    shown = [dict(zip(header, line, strict=True)) for line in lines]

    planned = plan(run, "--all-teams")

    assert len(shown) == 9
    assert shown == [
        {key: "-" if row[key] is None else str(row[key]) for key in row if key not in ("cutoff", "require_gpu")} for row in planned
    ]
    assert_nothing_written(models)


def test_a_dry_run_needs_no_base_models(run, feed, models, settings):
    settings.BASE_MODELS_DIR = models / "none"
    assert len(plan(run, *MS)) == 3


def test_a_dry_run_shows_refusals(run, feed):
    team = Team.objects.get(slug="neurology")
    TrainingRun.objects.create(
        run_id="abc123", subject=team.subjects.get(subject_slug="als"), runner="local", attempt_token="t", spec={}, queued_at=NOW
    )
    reasons = {row["subject"]: row["refused"] for row in plan(run, "--team", "neurology", "--algo", "lstm")}
    assert reasons == {
        "als": "neurology/als has an unfinished run abc123 (pending since 2025-06-14 12:30 UTC); "
        "wait for its end; if it has terminated, run reconcile_runs --once",
        "ms": None,
    }


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([], "no labelled article in the data window; label some, or widen the window with --lookback-days N or --all-articles"),
        (["--all-articles"], "no labelled article; label some"),
    ],
)
def test_a_dry_run_refuses_labels_that_cannot_be_split(run, feed, flags, reason):
    ArticleSubjectRelevance.objects.filter(subject__subject_slug="als").delete()
    reasons = {row["subject"]: row["refused"] for row in plan(run, "--team", "neurology", "--algo", "lstm", *flags)}
    assert reasons == {"als": reason, "ms": None}
