"""A back end that refuses the account of a submission, for a time or for good."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from gregory.launch.errors import Refused, Unreachable
from gregory.management.concurrent import situation
from gregory.models import PredictionRunLog, Subject
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ResultKind
from gregory.reconcile.submit import PERMISSION_SECONDS
from gregory.runs import store
from gregory.runs.models import TrainingRun
from tests.database_rows import HERE, planned
from tests.reconcile.pretend_cluster import PretendCluster

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FORBIDDEN = Refused(
    'jobs.batch is forbidden: User "controller" cannot create resource "jobs" in API group "batch" in the namespace "runs"',
    status=403,
    reason="Forbidden",
)


@pytest.fixture
def reconcile(subject: Subject, cluster: PretendCluster, tmp_path: Path):
    """One pass over one queued run, whose command is gone."""
    store.open_run(planned(subject), runner="pretend", handle=HERE, triggered_by="a test")
    TrainingRun.objects.update(heartbeat_at=Now() - timedelta(seconds=120))
    reconciler = Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900)
    return lambda: list(reconciler.reconcile_once())


def refused_for(seconds: float) -> None:
    TrainingRun.objects.update(unknown_since=Now() - timedelta(seconds=seconds))


def run() -> TrainingRun:
    return TrainingRun.objects.get()


def test_a_run_that_its_account_may_not_submit_stays_queued_with_the_cause(cluster, reconcile):
    cluster.refuses = FORBIDDEN

    assert [(result.action, result.detail) for result in reconcile()] == [(ResultKind.LEFT, f"not submitted yet: {FORBIDDEN}")]
    assert (run().state, run().waiting_for, run().reason) == ("pending", str(FORBIDDEN), "")
    assert situation(run()).startswith(f"queued: {FORBIDDEN}, unknown since ")

    refused_for(PERMISSION_SECONDS - 10)
    reconcile()
    cluster.refuses = None
    assert [result.action for result in reconcile()] == [ResultKind.SUBMITTED]
    assert (run().state, run().waiting_for, run().unknown_since) == ("submitted", "", None)


@pytest.mark.parametrize("refusal", [FORBIDDEN, Refused("Unauthorized", status=401, reason="Unauthorized")])
def test_after_five_minutes_it_is_refused_with_the_words_of_the_server(cluster, reconcile, refusal):
    cluster.refuses = refusal
    reconcile()
    refused_for(PERMISSION_SECONDS + 10)

    assert [result.action for result in reconcile()] == [ResultKind.CLOSED]

    assert (run().state, run().reason) == ("failed", "refused")
    assert run().detail.startswith("cannot start team/subject: refused for 31")
    assert run().detail.endswith(f" s, the limit is 300 s: {refusal}")
    assert {row.success for row in PredictionRunLog.objects.all()} == {False}


def test_another_answer_ends_the_time_of_refusals(cluster, reconcile):
    cluster.refuses = FORBIDDEN
    reconcile()
    refused_for(PERMISSION_SECONDS + 10)

    cluster.refuses = Unreachable("no answer")
    reconcile()
    assert (run().state, run().waiting_for, run().unknown_since) == ("pending", "no answer", None)

    cluster.refuses = FORBIDDEN
    assert [result.action for result in reconcile()] == [ResultKind.LEFT]
