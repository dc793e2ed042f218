"""`train_models` with a subject whose labels cannot be split: its rows fail with the reason, and no run is started for it."""

import pytest

from gregory.models import ArticleSubjectRelevance, PredictionRunLog, Subject
from gregory.runs.models import TrainingRun
from tests.commands.cluster_runs import ON_CLUSTER
from tests.commands.command_line import rows
from tests.database_rows import label_articles

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MESSAGE = (
    "a stratified 70/15/15 split needs both classes in every part: 6 articles of each class are always enough, there are 4 relevant and "
    "40 not relevant; label more"
)
ALGORITHMS = ("--algo", "lstm,lgbm_tfidf")


@pytest.fixture
def four(feed: None) -> None:
    """The subject `als` has four relevant articles."""
    als = Subject.objects.get(subject_slug="als")
    ArticleSubjectRelevance.objects.filter(subject=als).delete()
    label_articles(als, relevant=4, not_relevant=40)


def test_its_rows_fail_and_the_other_subject_is_trained(run, four):
    done = run("--team", "neurology", "--all-articles", *ALGORITHMS, "--runner", "instant")
    assert (done.code, done.err) == (1, "CommandError: 2 of 4 trainings failed\n")
    assert done.out.startswith(f"neurology/als: nothing is trained: {MESSAGE}\n")
    assert [(subject, success) for subject, _, _, success in rows()] == [("als", False), ("als", False), ("ms", True), ("ms", True)]
    for row in PredictionRunLog.objects.filter(subject__subject_slug="als"):
        assert row.error_message.startswith("Traceback (most recent call last):\n")
        assert row.error_message.endswith(f"\ngregory.ml.errors.StratificationError: {MESSAGE}\n")
        assert (row.run_finished is not None, row.algorithm_run.reason) == (True, "bad_data")
    ended = TrainingRun.objects.get(subject__subject_slug="als")
    assert (ended.state, ended.reason, ended.detail, ended.submitted_at, ended.started_at) == ("failed", "bad_data", MESSAGE, None, None)


def test_a_cluster_gets_only_the_other_subject(run, four, cluster):
    done = run("--team", "neurology", "--all-articles", *ON_CLUSTER)
    assert (done.code, done.err) == (1, "CommandError: 1 of 2 trainings failed\n")
    assert sorted(TrainingRun.objects.values_list("subject__subject_slug", "state")) == [("als", "failed"), ("ms", "submitted")]


def test_a_subject_with_an_unfinished_run_is_refused_as_before(run, four):
    als = Subject.objects.get(subject_slug="als")
    run("--team", "neurology", "--subject", "als", "--all-articles", *ALGORITHMS, "--runner", "instant")
    TrainingRun.objects.filter(subject=als).update(state="running", finished_at=None)
    done = run("--team", "neurology", "--subject", "als", "--all-articles", *ALGORITHMS, "--runner", "instant")
    assert (done.code, PredictionRunLog.objects.count()) == (1, 2)
    assert done.err.startswith("CommandError: neurology/als has an unfinished run ")
