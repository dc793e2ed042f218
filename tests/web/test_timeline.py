"""The timeline of a run: its steps in their order, with time and peak memory, whatever a run has stored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.urls import reverse

from gregory.models import PredictionRunLog
from gregory.runs import store
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.web.timeline import timeline
from tests.web.conftest import Tenant

pytestmark = pytest.mark.django_db
QUEUED = datetime(2026, 1, 1, 12, tzinfo=UTC)
MIB = 2**20


def after(seconds: int) -> datetime:
    return QUEUED + timedelta(seconds=seconds)


def steps(tenant: Tenant) -> list[tuple[str, float, float, str, str, bool]]:
    run = TrainingRun.objects.get(pk=tenant.run.run_id)
    found = timeline(run, store.trainings([run.run_id]).get(run.run_id, []))
    return [(one.name, one.offset, one.width, one.seconds, one.peak, one.bar) for one in found]


@pytest.fixture
def record(ours: Tenant) -> AlgorithmRun:
    """The only training of a run of 100 seconds: queued for 10, then 30 until the training, then 60 of it."""
    last = AlgorithmRun.objects.order_by("pk").last()
    assert last is not None
    last.delete()
    TrainingRun.objects.update(queued_at=QUEUED, started_at=after(10), finished_at=after(100), state="succeeded")
    PredictionRunLog.objects.update(run_started=after(40), run_finished=after(100))
    return AlgorithmRun.objects.get()


def of_stages(**seconds: Any) -> dict[str, Any]:
    stages = {stage: {"seconds": number, "peak_bytes": 256 * MIB} for stage, number in seconds.items()}
    return {"stages": stages, "seconds": 59.0, "peak_bytes": 512 * MIB}


def test_each_stage_has_its_place_its_time_and_its_peak(ours: Tenant, record: AlgorithmRun):
    AlgorithmRun.objects.update(resources=of_stages(pseudo_label=5.0, summarise=20.0, train=59.0))
    algorithm = record.run_log.algorithm

    assert steps(ours) == [
        ("waiting", 0.0, 10.0, "10 s", "", True),
        ("preparation", 10.0, 5.0, "5 s", "", True),
        ("summarise", 15.0, 20.0, "20 s", "256 MiB", True),
        ("pseudo_label", 35.0, 5.0, "5 s", "256 MiB", True),
        (algorithm, 40.0, 60.0, "1 min 00 s", "512 MiB", True),
    ]
    text = ours.client.get(reverse("admin:run", args=[ours.run.run_id])).content.decode()
    assert 'x="15.00" y="0" width="20.00"' in text
    assert "<td class=\"figure\">256 MiB</td>" in text  # fmt: skip


def test_a_stage_of_an_earlier_attempt_has_no_bar(ours: Tenant, record: AlgorithmRun):
    AlgorithmRun.objects.update(resources=of_stages(summarise=300.0))

    assert steps(ours)[1:3] == [
        ("preparation", 10.0, 30.0, "30 s", "", True),
        ("summarise", -260.0, 300.0, "5 min 00 s", "256 MiB", False),
    ]
    assert "by an earlier attempt" in ours.client.get(reverse("admin:run", args=[ours.run.run_id])).content.decode()


def test_a_run_whose_shared_stage_failed_has_its_bar(ours: Tenant, record: AlgorithmRun):
    AlgorithmRun.objects.update(resources=of_stages(summarise=80.0))
    PredictionRunLog.objects.update(run_started=QUEUED)

    assert [one[:4] for one in steps(ours)] == [
        ("waiting", 0.0, 10.0, "10 s"),
        ("preparation", 10.0, 10.0, "10 s"),
        ("summarise", 20.0, 80.0, "1 min 20 s"),
    ]


@pytest.mark.parametrize(
    "stored", [[], "x", {"stages": [1]}, {"stages": {"summarise": 3}}, {"stages": {"summarise": {"seconds": "<b>", "peak_bytes": []}}}]
)
def test_any_stored_value_gives_a_page(ours: Tenant, record: AlgorithmRun, stored: object):
    AlgorithmRun.objects.update(resources=stored, metrics=stored, warnings=[])

    assert [one[0] for one in steps(ours)] == ["waiting", "preparation", record.run_log.algorithm]
    assert ours.client.get(reverse("admin:run", args=[ours.run.run_id])).status_code == 200


def test_a_run_that_has_not_begun_has_no_timeline(ours: Tenant):
    assert steps(ours) == []
