"""Another program ends or deletes the row of a training: GregoryAI's admin, its `clear_old_logs`, or a deleted subject."""

import pytest
from django.db import connection
from django.db.models.functions import Now

from gregory.ml.progress import Progress
from gregory.models import PredictionRunLog
from gregory.reporting import runs, summary
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunSpec
from gregory.runs.states import RunState
from tests.database_rows import HERE, opened, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.database]

# The text of GregoryAI's admin.
MARKED = "Manually marked as failed by admin."
DELETE_LOGS = ("DELETE FROM gregory_predictionrunlog",)
DELETE_SUBJECT = (*DELETE_LOGS, "DELETE FROM subjects")


@pytest.fixture
def spec(subject) -> RunSpec:
    """A claimed run of two algorithms."""
    spec = opened(subject)
    store.claim(spec, HERE, image_digest="")
    return spec


def mark(spec: RunSpec, position: int, *, success: bool) -> None:
    """The action of GregoryAI's admin on one row."""
    row = PredictionRunLog.objects.filter(pk=spec.algorithms[position].run_log_id, success__isnull=True)
    assert row.update(success=success, run_finished=Now(), error_message=None if success else MARKED) == 1


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def finish(spec: RunSpec) -> None:
    store.finish_from_rows(spec, store.unsuccessful(spec), Diagnosis(summary=""))


def records() -> list[tuple[str, str]]:
    return list(AlgorithmRun.objects.order_by("position", "pk").values_list("stage", "reason"))


def run() -> tuple[str, str, str]:
    return TrainingRun.objects.values_list("state", "reason", "detail").get()


def results(spec: RunSpec) -> list[str]:
    return [summary.result(outcome.training) for outcome in summary.outcomes([spec])]


def test_a_row_that_was_marked_as_failed_stays_failed_and_its_record_agrees(spec):
    first, second = spec.algorithms
    mark(spec, 0, success=False)

    assert store.overriding(spec, [first]) == f"another program ended row {first.run_log_id}: {MARKED}"
    assert store.overriding(spec, [second]) == store.overriding(spec, [first, second]) == ""
    assert not store.close_algorithm(spec, outcome(spec, 0))
    assert store.close_algorithm(spec, outcome(spec, 1))
    finish(spec)

    assert list(PredictionRunLog.objects.order_by("pk").values_list("success", "error_message")) == [(False, MARKED), (True, None)]
    assert records() == [("ended", "overridden"), ("ended", "")]
    assert run() == ("failed", "overridden", "failed: lstm")
    assert results(spec) == ["failed: overridden", "success"]


@pytest.mark.parametrize(
    ("statements", "cause"),
    [
        (DELETE_LOGS, "another program deleted row {0}; another program deleted row {1}"),
        (DELETE_SUBJECT, "the subject team/subject was deleted"),
    ],
    ids=["logs", "subject"],
)
def test_trainings_whose_rows_were_deleted_fail(spec, statements: tuple[str, ...], cause: str):
    execute(*statements)

    assert store.overriding(spec, spec.algorithms) == cause.format(*(algorithm.run_log_id for algorithm in spec.algorithms))
    assert store.fail_open_rows(spec, reason=Reason.OVERRIDDEN, error="deleted") == []
    assert records() == [("ended", "overridden")] * 2
    finish(spec)

    assert run() == ("failed", "overridden", "failed: lstm, lgbm_tfidf")
    assert results(spec) == ["failed: overridden"] * 2


def test_a_subject_without_its_rows_deleted_still_ends_its_trainings(spec):
    """An old database lost the foreign key, so the rows stay."""
    with connection.constraint_checks_disabled():
        execute("DELETE FROM subjects")

        assert store.overriding(spec, spec.algorithms) == "the subject team/subject was deleted"
        assert len(store.fail_open_rows(spec, reason=Reason.OVERRIDDEN, error="deleted")) == 2
        assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, "deleted")}
        execute(*DELETE_LOGS)


def test_a_run_ends_the_records_of_all_its_overridden_trainings(spec):
    mark(spec, 0, success=False)
    store.close_algorithm(spec, outcome(spec, 1))

    finish(spec)

    assert records() == [("ended", "overridden"), ("ended", "")]


def test_a_queued_run_whose_rows_were_deleted_ends_with_the_command(subject):
    spec = opened(subject)
    execute(*DELETE_LOGS)

    assert store.end_queued({spec.run_id: spec.attempt_token}, RunState.CANCELLED, Diagnosis(summary="", reason=Reason.INTERRUPTED)) == 1

    assert records() == [("ended", "overridden")] * 2


def test_a_late_heartbeat_changes_no_ended_training(spec):
    """It may have waited for the database while the row was closed."""
    store.close_algorithm(spec, outcome(spec, 0))

    row = spec.algorithms[0].run_log_id
    store.record_progress(spec, row, stage="train", progress=Progress(message="epoch 9"))
    store.begin_algorithm(spec, row)
    store.begin_publishing(spec, row)

    assert records()[0] == ("ended", "")
    assert results(spec)[0] == "success"


class TestMarkedAsSuccessful:
    """There is no model yet, so the training goes on and decides."""

    def test_it_gets_the_model_and_its_metrics(self, spec):
        mark(spec, 0, success=True)

        assert store.overriding(spec, spec.algorithms[:1]) == ""
        assert results(spec) == ["unfinished"] * 2
        assert store.unsuccessful(spec) == ["lstm", "lgbm_tfidf"]
        assert store.close_algorithm(spec, outcome(spec, 0))

        record = AlgorithmRun.objects.select_related("run_log").first()
        assert (record.run_log.success, record.metrics) == (True, {"test_f1": 0.5})
        assert store.unsuccessful(spec) == ["lgbm_tfidf"]

    def test_it_fails_without_a_model(self, spec):
        mark(spec, 0, success=True)

        assert store.close_algorithm(spec, outcome(spec, 0, success=False, error="why"))

        assert PredictionRunLog.objects.order_by("pk").values_list("success", "error_message").first() == (False, "why")

    def test_it_fails_with_its_run(self, spec):
        mark(spec, 0, success=True)

        store.end_run(spec, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))

        assert set(PredictionRunLog.objects.values_list("success", "algorithm_run__reason")) == {(False, "lost")}

    def test_another_attempt_continues_it(self, spec):
        mark(spec, 0, success=True)

        following = store.retry(spec, Diagnosis(summary="drained", reason=Reason.EVICTED), handle=HERE, counts=True)

        assert following.algorithms == spec.algorithms

    def test_an_edit_after_its_failure_is_no_success(self, spec):
        store.close_algorithm(spec, outcome(spec, 0, success=False, error="why"))
        PredictionRunLog.objects.filter(pk=spec.algorithms[0].run_log_id).update(success=True)

        assert results(spec)[0] == "failed: error"
        assert store.unsuccessful(spec) == ["lstm", "lgbm_tfidf"]


def test_a_model_whose_row_was_deleted_later_is_still_a_success(spec):
    facts = {"artifact": "team/subject/lstm/20260101", "digest": "d"}
    store.close_algorithm(spec, AlgorithmOutcome(**spec.algorithms[0].model_dump(), success=True, **facts))
    execute(*DELETE_LOGS)

    assert results(spec) == ["success, row deleted", "failed: overridden"]
    assert store.unsuccessful(spec) == ["lgbm_tfidf"]
    following = resumed(spec)
    assert [algorithm.algorithm for algorithm in following.algorithms] == ["lgbm_tfidf"]


def test_the_facts_of_a_run_name_the_algorithms_of_deleted_rows(spec):
    store.close_algorithm(spec, outcome(spec, 0, success=False, error="why"))
    resumed(spec)
    execute(*DELETE_LOGS)

    text = runs.full_text(runs.everything(TrainingRun.objects.get(), []))

    (earlier, later), (other,) = ([record.run_log_id for record in AlgorithmRun.objects.filter(position=position)] for position in (0, 1))
    assert f"lstm 20260101_2 (row {later}, deleted by another program): failed: overridden" in text
    # No specification names the version of an earlier attempt.
    assert f"lstm unknown (row {earlier}, deleted by another program): failed: error" in text
    assert f"lgbm_tfidf 20260101 (row {other}, deleted by another program): failed: overridden" in text


def resumed(spec: RunSpec) -> RunSpec:
    return store.resume(spec, token="t", handle=HERE, triggered_by="a test", why="gone", next_version=lambda algorithm: "20260101_2")
