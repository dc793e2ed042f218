"""The subjects that `train_models` leaves out or refuses: each is printed once."""

import pytest
from django.db import connection

from gregory.models import Subject
from gregory.runs.models import TrainingRun
from tests.commands.command_line import MS, NOW

pytestmark = [pytest.mark.django_db, pytest.mark.database]

LEFT_OUT = "team oncology is left out: it was deactivated in GregoryAI\n"


@pytest.fixture
def inactive(feed: None) -> None:
    """GregoryAI's newest schema has this column. One team with a subject, and one without, are not active."""
    # PostgreSQL changes no table whose constraints are still to be checked.
    connection.check_constraints()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE gregory_team ADD COLUMN is_active boolean NOT NULL DEFAULT true")
        cursor.execute("UPDATE gregory_team SET is_active = false WHERE slug IN ('oncology', 'idle')")


def test_all_teams_names_an_inactive_team(run, inactive):
    done = run("--all-teams", "--algo", "lstm", "--runner", "instant")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(LEFT_OUT)
    assert "neurology" in done.out


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_dry_run_names_it_beside_its_output(run, inactive, output: str):
    done = run("--all-teams", "--algo", "lstm", "--dry-run", "--output", output)

    assert (done.code, done.err) == (0, LEFT_OUT)
    assert "oncology" not in done.out


def test_one_team_names_no_other(run, inactive):
    assert run(*MS, "--algo", "lstm", "--dry-run").err == ""


@pytest.mark.parametrize("verbose", ["1", "2"])
def test_a_refusal_is_printed_once(run, feed, verbose: str):
    als = Subject.objects.get(subject_slug="als")
    TrainingRun.objects.create(run_id="abc123", subject=als, runner="local", attempt_token="t", spec={}, queued_at=NOW)

    done = run("--team", "neurology", "--algo", "lstm", "--runner", "instant", "--verbose", verbose)

    assert done.code == 1
    assert done.err.startswith("CommandError: neurology/als has an unfinished run abc123 ")
    assert "abc123" not in done.out
