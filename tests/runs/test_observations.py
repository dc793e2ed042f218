"""Observations of many runs: equal changes are written together, and each row only if it is as it was read."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.store import ObservedStatus
from tests.database_rows import HERE, make_subject, make_team, planned

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WAITS = ObservedStatus(known=True, waiting_for="unschedulable: no GPU is free")
COUNT = 6


@pytest.fixture
def runs() -> list[TrainingRun]:
    """Submitted runs, as a pass reads them."""
    team = make_team("neurology")
    for number in range(COUNT):
        spec = store.open_run(planned(make_subject(team, f"subject-{number}")), runner="pretend", handle=HERE, triggered_by="a test")
        store.mark_submitted(spec, HERE)
    return [timed.run for timed in store.unfinished_runs()]


def waiting() -> list[str]:
    return list(TrainingRun.objects.order_by("queued_at", "run_id").values_list("waiting_for", flat=True))


def test_equal_changes_are_written_together(runs: list[TrainingRun]):
    with CaptureQueriesContext(connection) as queries:
        recorded = store.record_observations((run, WAITS) for run in runs)

    statements = [query["sql"] for query in queries if query["sql"].startswith(("SELECT", "UPDATE"))]
    assert recorded == dict.fromkeys([run.run_id for run in runs], True)
    assert waiting() == [WAITS.waiting_for] * COUNT
    assert len(statements) == 2


def test_a_known_observation_is_not_written_again(runs: list[TrainingRun]):
    store.record_observations((run, WAITS) for run in runs)
    again = [timed.run for timed in store.unfinished_runs()]

    with CaptureQueriesContext(connection) as queries:
        recorded = store.record_observations((run, WAITS) for run in again)

    assert recorded == dict.fromkeys([run.run_id for run in runs], False)
    assert len(queries) == 0


@pytest.mark.parametrize(
    "moved", [{"attempt_token": "f" * 32}, {"state": "running"}, {"state": "cancelled"}, {"started_at": "2026-01-02T03:04:05Z"}]
)
def test_a_run_that_moved_since_it_was_read_keeps_its_row(runs: list[TrainingRun], moved: dict[str, Any]):
    TrainingRun.objects.filter(pk=runs[2].run_id).update(**moved)

    recorded = store.record_observations((run, WAITS) for run in runs)

    assert [recorded[run.run_id] for run in runs] == [True, True, False, True, True, True]
    assert waiting() == [WAITS.waiting_for if number != 2 else "" for number in range(COUNT)]


def test_different_changes_are_not_mixed(runs: list[TrainingRun]):
    other = ObservedStatus(known=True, waiting_for="pulling the image", node="node-1")

    store.record_observations((run, other if number % 2 else WAITS) for number, run in enumerate(runs))

    assert waiting() == [WAITS.waiting_for, other.waiting_for] * (COUNT // 2)
    assert set(TrainingRun.objects.values_list("node", "waiting_for")) == {("", WAITS.waiting_for), ("node-1", other.waiting_for)}


def test_a_single_change_and_a_suspension_are_left_to_the_caller(runs: list[TrainingRun]):
    TrainingRun.objects.filter(pk__in=[run.run_id for run in runs[:2]]).update(state="running", started_at="2026-01-02T03:04:05Z")
    read = [timed.run for timed in store.unfinished_runs()]
    alone = ObservedStatus(known=True, waiting_for="alone")

    recorded = store.record_observations([(read[0], WAITS), (read[1], WAITS), (read[2], alone)])

    assert recorded == {}
    assert waiting() == [""] * COUNT


def test_a_specification_is_the_same_however_it_is_read(runs: list[TrainingRun]):
    first = runs[0]
    stored = TrainingRun.objects.get(pk=first.run_id)

    assert first.spec["run_id"] == first.run_id
    assert stored.spec == first.spec == TrainingRun.objects.defer("spec").get(pk=first.run_id).spec
    stored.spec = {**first.spec, "verbosity": 3}
    stored.save()
    assert TrainingRun.objects.get(spec__verbosity=3).spec == stored.spec
