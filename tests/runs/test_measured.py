"""The figures for monitoring, from rows as trainings write them."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from gregory.models import PredictionRunLog
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import LastSuccess, RunCount, measured
from tests.database_rows import HERE, make_subject, opened, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def moved(spec: RunSpec, **times: int) -> None:
    """Set times of a run, in seconds before now."""
    now = store.time_of_database()
    TrainingRun.objects.filter(pk=spec.run_id).update(**{name: now - timedelta(seconds=seconds) for name, seconds in times.items()})


def finished(spec: RunSpec, *, success: bool = True) -> None:
    """End a run after 30 s in the queue, with a summary of 12 s and trainings of 40 and 41 s."""
    store.claim(spec, HERE, image_digest="")
    for position in range(len(spec.algorithms)):
        result = outcome(spec, position, success=success).model_copy(update={"seconds": 40.0 + position})
        details = store.OutcomeDetails(resources={"stages": {"summarise": {"seconds": 12.0}, "train": {"seconds": 40.0 + position}}})
        store.close_algorithm(spec, result, details)
    end = SUCCEEDED if success else Diagnosis(summary="it failed", reason=Reason.ERROR)
    store.finish_run(spec, RunState.SUCCEEDED if success else RunState.FAILED, end)
    moved(spec, queued_at=90, started_at=60)


def test_runs_are_counted_by_state_and_reason(subject):
    finished(opened(subject))
    finished(opened(subject, version="second"), success=False)
    opened(subject, version="third")

    assert store.measure().counts == (
        RunCount(kind="train", state="failed", reason="error", runs=1),
        RunCount(kind="train", state="pending", reason="", runs=1),
        RunCount(kind="train", state="succeeded", reason="", runs=1),
    )


def test_shared_stages_count_once_per_run(subject):
    finished(opened(subject))
    finished(opened(subject, version="second"))

    found = store.measure()
    assert found.queue == {"train": (30.0, 30.0)}
    assert found.stages == {
        ("train", "train", "lstm"): (40.0, 40.0),
        ("train", "train", "lgbm_tfidf"): (41.0, 41.0),
        ("train", "summarise", ""): (12.0, 12.0),
    }


def test_the_oldest_wait_and_the_longest_silence(subject):
    queued, submitted, running, lost = (opened(make_subject(subject.team, slug)) for slug in ("a", "b", "c", "d"))
    store.mark_submitted(submitted, HERE)
    moved(queued, queued_at=100)
    moved(submitted, queued_at=500, submitted_at=200)
    for spec, seconds in ((running, 5), (lost, 300)):
        store.claim(spec, HERE, image_digest="")
        moved(spec, queued_at=900, heartbeat_at=seconds)
    TrainingRun.objects.filter(pk=lost.run_id).update(unknown_since=Now())

    found = store.measure()
    assert found.unknown == 1
    assert found.oldest == pytest.approx({"pending": 100, "submitted": 200}, abs=5)
    assert found.silence == pytest.approx(300, abs=5)


def test_each_algorithm_has_its_last_success_or_its_first_attempt(subject):
    finished(opened(subject))
    finished(opened(subject, version="second"), success=False)
    never = make_subject(subject.team, "never")
    finished(opened(never), success=False)

    rows = list(PredictionRunLog.objects.order_by("pk").select_related("subject"))
    first = {(row.subject.subject_slug, row.algorithm): row.run_started for row in reversed(rows)}
    success = {(row.subject.subject_slug, row.algorithm): row.run_finished for row in rows if row.success}
    assert len(success) == 2
    assert {(one.subject, one.algorithm): one for one in store.measure().successes} == {
        key: LastSuccess(team="team", subject=key[0], algorithm=key[1], kind="train", first=at, success=success.get(key))
        for key, at in first.items()
    }


def test_a_retired_subject_has_no_last_success(subject):
    finished(opened(subject))
    retired = store.time_of_database() - timedelta(days=measured.RETIRED_DAYS + 1)
    PredictionRunLog.objects.update(run_started=retired, run_finished=retired)

    assert store.measure().successes == ()


def test_the_newest_successes_are_left_out(subject, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(measured, "MOST_SUBJECTS", 1)
    finished(opened(subject))
    PredictionRunLog.objects.filter(algorithm="lstm").update(run_finished=store.time_of_database() - timedelta(days=2))

    found = store.measure()
    assert [one.algorithm for one in found.successes] == ["lstm"]
    assert found.left_out == 1


@pytest.mark.parametrize("stored", [{}, [], "x", {"seconds": "9", "stages": []}, {"stages": {"summarise": 3}}])
def test_any_stored_value_is_no_error(subject, stored: object):
    spec = opened(subject)
    finished(spec)
    AlgorithmRun.objects.update(resources=stored)

    assert store.measure().stages == {}


@pytest.mark.parametrize("subjects", [1, 12])
def test_the_number_of_queries_is_fixed(subject, subjects: int):
    for number in range(subjects):
        finished(opened(make_subject(subject.team, f"s{number}")))

    with CaptureQueriesContext(connection) as captured:
        store.measure()
    assert len(captured) == 7
