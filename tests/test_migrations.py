"""Migrations on both databases: the spec's column, rows from before, and a schema that matches the models."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def at_0001():
    """The database as GregoryAI's first migration leaves it; brought back to the newest state afterwards."""
    executor = MigrationExecutor(connection)
    executor.migrate([("gregory_runs", None), ("gregory", "0001_initial")])
    yield executor.loader.project_state([("gregory", "0001_initial")]).apps
    MigrationExecutor(connection).migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def test_rows_from_before_the_algorithm_column_become_unknown(at_0001):
    organization = at_0001.get_model("organizations", "Organization").objects.create(name="o", slug="o")
    team = at_0001.get_model("gregory", "Team").objects.create(organization=organization, slug="t")
    subject = at_0001.get_model("gregory", "Subject").objects.create(subject_name="S", subject_slug="s", team=team)
    at_0001.get_model("gregory", "PredictionRunLog").objects.create(team=team, subject=subject, model_version="old", run_type="train")

    executor = MigrationExecutor(connection)
    executor.migrate([("gregory", "0002_predictionrunlog_algorithm")])

    now = executor.loader.project_state([("gregory", "0002_predictionrunlog_algorithm")]).apps
    assert list(now.get_model("gregory", "PredictionRunLog").objects.values_list("model_version", "algorithm")) == [("old", "unknown")]
    for model in ("PredictionRunLog", "Subject", "Team"):
        now.get_model("gregory", model).objects.all().delete()


def test_no_migration_is_missing():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("gregory_team", {"id", "slug", "organization_id"}),
        ("subjects", {"id", "subject_name", "subject_slug", "description", "team_id"}),
        ("articles_subjects", {"id", "articles_id", "subject_id"}),
        ("articles_teams", {"id", "articles_id", "team_id"}),
        ("gregory_articlesubjectrelevance", {"id", "article_id", "subject_id", "is_relevant"}),
        (
            "gregory_predictionrunlog",
            {
                "id", "team_id", "subject_id", "model_version", "algorithm", "run_type", "run_started", "run_finished", "success",
                "triggered_by", "error_message",
            },
        ),
    ],
)  # fmt: skip
def test_tables_carry_gregoryais_names(table: str, columns: set[str]):
    with connection.cursor() as cursor:
        assert {column.name for column in connection.introspection.get_table_description(cursor, table)} == columns


def test_two_unfinished_runs_of_one_subject_are_impossible_whatever_writes_them():
    from gregory.runs.models import TrainingRun

    def create(run_id: str, state: str) -> None:
        with transaction.atomic():
            TrainingRun.objects.create(run_id=run_id, subject_id=1, runner="local", state=state, spec={}, queued_at="2026-01-01T00:00Z")

    create("a", "failed")
    create("b", "succeeded")
    create("c", "running")
    with pytest.raises(IntegrityError):
        create("d", "pending")
    TrainingRun.objects.all().delete()


def test_a_training_and_a_prediction_of_one_subject_may_be_unfinished():
    from gregory.runs.models import TrainingRun

    for run_id, kind in (("a", "train"), ("b", "predict")):
        TrainingRun.objects.create(run_id=run_id, kind=kind, subject_id=1, runner="local", spec={}, queued_at="2026-01-01T00:00Z")

    TrainingRun.objects.all().delete()


def test_an_older_release_opens_runs_in_the_newest_tables():
    executor = MigrationExecutor(connection)
    older = executor.loader.project_state([("gregory_runs", "0004_words_without_choices")]).apps.get_model("gregory_runs", "TrainingRun")

    older.objects.create(run_id="a", subject_id=1, runner="local", spec={}, queued_at="2026-01-01T00:00Z")

    assert older.objects.values_list("run_id", flat=True).get() == "a"
    older.objects.all().delete()
