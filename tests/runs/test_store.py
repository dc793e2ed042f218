"""The run store: rows are opened together, end once, and only the current attempt or a reconciler ends them."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from gregory.ml.progress import Progress
from gregory.models import PredictionRunLog
from gregory.runs import db_retry, store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.models import AlgorithmRun, RunEvent, TrainingRun
from gregory.runs.outage import Outages
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunHandle, RunSpec, new_token
from gregory.runs.states import RunState
from gregory.runs.store import finish, queries
from tests.database_rows import HERE, make_subject, opened, outcome, planned

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def test_open_run_writes_one_row_per_algorithm_in_order(subject):
    spec = opened(subject)

    rows = PredictionRunLog.objects.order_by("pk")
    assert [(row.algorithm, row.model_version, row.run_type, row.success, row.triggered_by) for row in rows] == [
        ("lstm", "20260101", "train", None, "a test"),
        ("lgbm_tfidf", "20260101", "train", None, "a test"),
    ]
    assert [algorithm.run_log_id for algorithm in spec.algorithms] == [row.pk for row in rows]
    run = TrainingRun.objects.get()
    assert (run.state, run.runner, RunSpec.model_validate(run.spec)) == ("pending", "local", spec)


def test_a_second_unfinished_run_of_a_subject_is_refused(subject):
    first = opened(subject)

    with pytest.raises(store.RunRefused) as refused:
        opened(subject, version="other")

    assert str(refused.value).startswith(f"team/subject has an unfinished run {first.run_id} (pending since ")
    assert str(refused.value).endswith("wait for its end; if it has terminated, run reconcile_runs --once")
    assert (TrainingRun.objects.count(), PredictionRunLog.objects.count()) == (1, 2)


def test_an_ended_run_allows_another_of_its_subject(subject):
    store.end_run(opened(subject), RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))

    opened(subject, version="20260101_2")

    assert TrainingRun.objects.count() == 2


def test_a_version_taken_after_planning_is_refused(subject):
    first = opened(subject)
    store.close_algorithm(first, outcome(first))
    store.end_run(first, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))

    with pytest.raises(store.RunRefused, match=r"team/subject: version 20260101 of lstm was just taken; run the command again"):
        opened(subject)

    assert TrainingRun.objects.count() == 1


def test_success_has_metrics_and_the_time_of_the_database(subject):
    spec = opened(subject)

    assert store.close_algorithm(spec, outcome(spec), store.OutcomeDetails(evaluation={"a": 1}, resources={"stages": {}}))

    row = PredictionRunLog.objects.get(pk=spec.algorithms[0].run_log_id)
    assert (row.success, row.error_message) == (True, None)
    assert abs(row.run_finished - timezone.now()) < timedelta(minutes=1)
    assert (row.algorithm_run.metrics, row.algorithm_run.evaluation) == ({"test_f1": 0.5}, {"a": 1})


def test_the_reading_of_a_training_is_two_figures_of_its_evaluation(subject):
    spec = opened(subject)
    pk = spec.algorithms[0].run_log_id
    store.close_algorithm(spec, outcome(spec), store.OutcomeDetails(evaluation={"ranking": {"read": {"value": 31.0}}, "test": {"n": 128}}))

    assert store.readings([spec.run_id]) == {pk: store.Reading(read=31, articles=128)}


@pytest.mark.parametrize(
    "evaluation",
    [
        {},
        {"ranking": None, "test": {"n": 128}},
        {"ranking": {"read": {"value": "many"}}, "test": {"n": 128}},
        {"ranking": {"read": {"value": [31]}}, "test": {"n": {}}},
        {"ranking": {"read": {"value": "1e999"}}, "test": {"n": 128}},
        {"ranking": [], "test": 3},
    ],
)
def test_an_evaluation_without_these_figures_has_no_reading(subject, evaluation: dict[str, Any]):
    spec = opened(subject)
    store.close_algorithm(spec, outcome(spec), store.OutcomeDetails(evaluation=evaluation))

    assert store.readings([spec.run_id]) == {}


def test_empty_data_and_compute_keep_the_stored_values(subject):
    spec = opened(subject)
    AlgorithmRun.objects.update(data={"labelled": 9}, compute={"device": "cpu"})

    store.close_algorithm(spec, outcome(spec), store.OutcomeDetails(data={"labelled": 10}, compute={"device": "cuda:0"}))
    store.close_algorithm(spec, outcome(spec, 1, success=False, error="why"))

    known, kept = AlgorithmRun.objects.all()
    assert (known.data, known.compute) == ({"labelled": 10}, {"device": "cuda:0"})
    assert (kept.data, kept.compute) == ({"labelled": 9}, {"device": "cpu"})


def test_the_first_writer_wins_and_a_late_report_becomes_an_event(subject):
    spec = opened(subject)
    store.close_algorithm(spec, outcome(spec, success=False, error="first"))

    assert not store.close_algorithm(spec, outcome(spec))

    row = PredictionRunLog.objects.get(pk=spec.algorithms[0].run_log_id)
    assert (row.success, row.error_message, row.algorithm_run.metrics) == (False, "first", {})
    event = RunEvent.objects.get()
    assert (event.kind, event.message) == ("late report", "lstm 20260101 of attempt 1: success")


@pytest.mark.parametrize("success", [True, False])
def test_an_end_that_is_written_again_after_a_lost_answer_is_no_late_report(subject, success: bool):
    spec = opened(subject)
    end = Diagnosis(summary="why", reason=Reason.ERROR, exit_code=1)

    closed = [store.close_algorithm(spec, outcome(spec, success=success, error="why")) for _ in range(2)]
    for _ in range(2):
        store.finish_run(spec, RunState.FAILED, end)

    assert (closed, RunEvent.objects.count()) == ([True, True], 0)


def test_another_end_of_a_run_is_a_late_end(subject):
    spec = opened(subject)
    store.finish_run(spec, RunState.FAILED, Diagnosis(summary="why", reason=Reason.ERROR))

    assert not store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)

    assert RunEvent.objects.values_list("kind", flat=True).get() == "late end"


def test_a_superseded_attempt_ends_nothing(subject):
    spec = opened(subject)
    old = spec.model_copy(update={"attempt_token": new_token()})

    assert not store.close_algorithm(old, outcome(old))
    assert not store.finish_run(old, RunState.SUCCEEDED, SUCCEEDED)
    assert not store.claim(old, HERE, image_digest="")

    assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {None}
    assert TrainingRun.objects.get().state == "pending"


def test_a_run_is_claimed_once(subject):
    spec = opened(subject)

    assert store.claim(spec, HERE, image_digest="sha256:1")
    assert not store.claim(spec, HERE, image_digest="sha256:1")

    run = TrainingRun.objects.get()
    assert (run.state, run.image_digest) == ("running", "sha256:1")


def test_a_running_run_cannot_become_submitted(subject):
    spec = opened(subject)
    store.claim(spec, HERE, image_digest="")

    assert not store.mark_submitted(spec, RunHandle(host="there", name="2", uid="2"))

    assert TrainingRun.objects.get().state == "running"


def test_end_run_keeps_closed_rows(subject):
    spec = opened(subject)
    store.close_algorithm(spec, outcome(spec))

    store.end_run(spec, RunState.CANCELLED, Diagnosis(summary="stop", reason=Reason.INTERRUPTED))

    rows = PredictionRunLog.objects.order_by("pk")
    assert [(row.success, row.error_message) for row in rows] == [(True, None), (False, "stop")]
    run = TrainingRun.objects.get()
    assert (run.state, run.reason, run.detail) == ("cancelled", "interrupted", "stop")
    assert store.unfinished_runs() == []


def test_fail_open_rows_closes_open_rows_only_and_returns_them(subject):
    spec = opened(subject)
    store.close_algorithm(spec, outcome(spec))

    assert store.fail_open_rows(spec, reason=Reason.BASE_MODELS, error="no bundle") == [spec.algorithms[1]]
    assert store.fail_open_rows(spec, reason=Reason.BASE_MODELS, error="no bundle") == []

    row = PredictionRunLog.objects.get(pk=spec.algorithms[1].run_log_id)
    assert (row.success, row.error_message, row.algorithm_run.reason) == (False, "no bundle", "base_models")
    assert TrainingRun.objects.get().state == "pending"


def test_a_superseded_attempt_fails_no_rows(subject):
    spec = opened(subject)

    assert store.fail_open_rows(spec.model_copy(update={"attempt_token": "old"}), reason=Reason.ERROR, error="x") == []

    assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {None}


def test_nul_and_lone_surrogates_are_escaped(subject):
    spec = opened(subject)

    store.close_algorithm(spec, outcome(spec, success=False, error="a\0b\udcffc"))

    assert PredictionRunLog.objects.get(pk=spec.algorithms[0].run_log_id).error_message == "a\\x00b\\udcffc"


def test_the_head_of_a_long_traceback_is_cut():
    text = store.sanitize_text("x" * 300_000 + "ValueError: the end", 1_000)

    assert text.startswith("[299019 characters cut]\nxxx")
    assert text.endswith("ValueError: the end")


def test_silence_is_measured_by_the_clock_of_the_database(subject):
    opened(subject)
    run = TrainingRun.objects.get()
    assert not store.is_silent(run.run_id, 60)

    TrainingRun.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=61))

    assert store.is_silent(run.run_id, 60)


def test_a_heartbeat_counts_for_the_current_attempt_only(subject):
    spec = opened(subject)
    past = timezone.now() - timedelta(hours=1)
    TrainingRun.objects.update(heartbeat_at=past)

    store.heartbeat([spec.model_copy(update={"attempt_token": "another"})])
    assert TrainingRun.objects.get().heartbeat_at == past

    store.heartbeat([spec])
    assert TrainingRun.objects.get().heartbeat_at > past


def test_the_start_of_a_row_is_the_start_of_its_training(subject):
    spec = opened(subject)
    past = timezone.now() - timedelta(hours=3)
    PredictionRunLog.objects.update(run_started=past)

    store.begin_algorithm(spec.model_copy(update={"attempt_token": "another"}), spec.algorithms[0].run_log_id)
    assert set(PredictionRunLog.objects.values_list("run_started", flat=True)) == {past}

    store.begin_algorithm(spec, spec.algorithms[0].run_log_id)
    first, second = PredictionRunLog.objects.order_by("pk")
    assert (first.run_started > past, second.run_started) == (True, past)


def test_progress_ends_no_row(subject):
    spec = opened(subject)

    progress = Progress(message="epoch 1/10", fraction=0.1, epoch=1, figures={"loss": 0.5})
    store.record_progress(spec, spec.algorithms[0].run_log_id, stage="train", progress=progress, seconds_left=90.0)

    first = AlgorithmRun.objects.first()
    assert first.stage == "train"
    assert first.progress == {"message": "epoch 1/10", "fraction": 0.1, "epoch": 1, "seconds_left": 90.0, "loss": 0.5}


def test_gregoryai_can_delete_its_rows(subject):
    opened(subject)

    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM gregory_predictionrunlog")
        cursor.execute("DELETE FROM subjects")
        connection.check_constraints()

    assert AlgorithmRun.objects.count() == 2


def test_django_deletes_the_runs_of_a_subject(subject):
    opened(subject)

    subject.delete()

    assert (TrainingRun.objects.count(), AlgorithmRun.objects.count(), PredictionRunLog.objects.count()) == (0, 0, 0)


def test_a_report_after_the_subject_was_deleted_writes_nothing(subject):
    spec = opened(subject)
    subject.delete()

    assert not store.close_algorithm(spec, outcome(spec))


def test_a_repeated_opening_finds_the_rows_of_the_first(subject):
    spec = planned(subject)
    first = store.open_run(spec, runner="local", handle=HERE, triggered_by="a test")

    assert store.open_run(spec, runner="local", handle=HERE, triggered_by="a test") == first
    assert PredictionRunLog.objects.count() == 2


def test_queued_runs_end_together_and_others_stay(subject, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(finish, "QUEUED_RUNS", 2)
    specs = [opened(make_subject(subject.team, f"subject-{number}")) for number in range(6)]
    queued, submitted, claimed, superseded = specs[:3], *specs[3:]
    store.mark_submitted(submitted, HERE)
    store.claim(claimed, HERE, image_digest="")
    never_opened = planned(subject)
    attempts = {spec.run_id: spec.attempt_token for spec in [*specs, never_opened]} | {superseded.run_id: new_token()}
    end = Diagnosis(summary="signal 15 before it was started", reason=Reason.INTERRUPTED)

    assert store.end_queued(attempts, RunState.CANCELLED, end) == 3
    assert store.end_queued(attempts, RunState.CANCELLED, end) == 0

    states = dict(TrainingRun.objects.values_list("pk", "state"))
    assert [states[spec.run_id] for spec in specs] == ["cancelled"] * 3 + ["submitted", "running", "pending"]
    for spec in queued:
        rows = list(AlgorithmRun.objects.filter(run_id=spec.run_id).values_list("stage", "reason", "run_log__success"))
        assert rows == [("ended", "interrupted", False)] * 2
    closed = PredictionRunLog.objects.filter(success=False, run_finished__isnull=False)
    assert list(closed.values_list("error_message", flat=True)) == ["signal 15 before it was started"] * 6
    assert PredictionRunLog.objects.filter(success=None).count() == 6


def test_the_end_of_any_number_of_queued_runs_is_a_few_statements(subject, django_assert_max_num_queries):
    attempts = {spec.run_id: spec.attempt_token for spec in (opened(make_subject(subject.team, f"s-{number}")) for number in range(30))}

    with django_assert_max_num_queries(9):
        assert store.end_queued(attempts, RunState.CANCELLED, Diagnosis(summary="x", reason=Reason.INTERRUPTED)) == 30


def resumed(spec: RunSpec, *, why: str = "the process is gone") -> RunSpec:
    return store.resume(
        spec,
        token=new_token(),
        handle=RunHandle(host="there", name="2", uid="2"),
        triggered_by="another",
        why=why,
        next_version=lambda algorithm: "20260101_2",
    )


def test_open_rows_continue_in_the_next_attempt(subject):
    first = opened(subject)
    store.claim(first, HERE, image_digest="sha256:1")

    second = resumed(first)

    assert (second.run_id, second.attempt, second.algorithms) == (first.run_id, 2, first.algorithms)
    assert second.attempt_token != first.attempt_token
    assert PredictionRunLog.objects.count() == 2
    assert set(PredictionRunLog.objects.values_list("success", "triggered_by")) == {(None, "a test")}
    run = TrainingRun.objects.get()
    assert (run.state, run.attempt, run.host, run.external_name, run.image_digest) == ("pending", 2, "there", "2", "")
    assert (run.started_at, run.submitted_at) == (None, None)
    assert RunSpec.model_validate(run.spec) == second
    assert store.claim(second, HERE, image_digest="")


def test_the_earlier_attempt_writes_nothing(subject):
    first = opened(subject)
    second = resumed(first)

    assert not store.claim(first, HERE, image_digest="")
    assert not store.close_algorithm(first, outcome(first))
    assert not store.finish_run(first, RunState.FAILED, Diagnosis(summary="", reason=Reason.LOST))

    assert store.close_algorithm(second, outcome(second))


def test_a_failed_row_stays_and_its_algorithm_gets_a_new_row(subject):
    first = opened(subject)
    store.close_algorithm(first, outcome(first))
    store.end_run(first, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))

    second = resumed(first)

    rows = list(PredictionRunLog.objects.order_by("pk"))
    assert [(row.algorithm, row.model_version, row.success, row.error_message, row.triggered_by) for row in rows] == [
        ("lstm", "20260101", True, None, "a test"),
        ("lgbm_tfidf", "20260101", False, "gone", "a test"),
        ("lgbm_tfidf", "20260101_2", None, None, "another"),
    ]
    assert second.algorithms == (AlgorithmSpec(algorithm="lgbm_tfidf", run_log_id=rows[2].pk, version="20260101_2"),)
    assert [(row.algorithm_run.run_id, row.algorithm_run.position) for row in rows] == [
        (first.run_id, 0),
        (first.run_id, 1),
        (first.run_id, 1),
    ]
    assert [run.run_log_id for run in AlgorithmRun.objects.filter(run_id=first.run_id)] == [row.pk for row in rows]


def test_the_end_of_an_attempt_becomes_an_event(subject):
    first = opened(subject)
    store.claim(first, HERE, image_digest="")
    store.finish_run(first, RunState.FAILED, Diagnosis(summary="signal 9", reason=Reason.KILLED, exit_code=-9), log_tail="last line")

    resumed(first)

    run = TrainingRun.objects.get()
    assert (run.reason, run.detail, run.exit_code, run.finished_at, run.log_tail) == ("", "", None, None, "")
    event = RunEvent.objects.get()
    assert event.kind == "resumed"
    assert event.message.startswith("attempt 1 ended: failed, killed: signal 9 (queued 20")
    assert event.message.endswith(" UTC, exit code -9)\nlast line")


def test_the_event_of_an_unfinished_attempt_has_its_observed_end(subject):
    first = opened(subject)
    store.claim(first, HERE, image_digest="")

    resumed(first, why="lost: the process is gone")

    assert RunEvent.objects.get().message.startswith("attempt 1 ended: running: lost: the process is gone (queued 20")


def test_the_second_of_two_resumes_is_refused(subject):
    first = opened(subject)
    second = resumed(first)

    with pytest.raises(store.RunRefused) as refused:
        resumed(first)

    assert str(refused.value) == f"run {first.run_id} of team/subject was just resumed or ended by another process"
    assert RunSpec.model_validate(TrainingRun.objects.get().spec) == second
    assert RunEvent.objects.count() == 1


def test_a_succeeded_run_is_not_resumed(subject):
    spec = opened(subject)
    store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)

    with pytest.raises(store.RunRefused, match="was just resumed or ended by another process"):
        resumed(spec)

    assert TrainingRun.objects.get().state == "succeeded"


def test_a_run_without_open_or_failed_rows_is_not_resumed(subject):
    spec = opened(subject)
    for position in (0, 1):
        store.close_algorithm(spec, outcome(spec, position))

    with pytest.raises(store.RunRefused, match=f"^run {spec.run_id} of team/subject has no algorithm left$"):
        resumed(spec)

    assert (TrainingRun.objects.get().attempt, RunEvent.objects.count()) == (1, 0)


def test_a_run_is_not_resumed_during_another_run_of_its_subject(subject):
    first = opened(subject)
    store.end_run(first, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))
    other = opened(subject, version="20260101_3")

    with pytest.raises(store.RunRefused, match=f"^team/subject has an unfinished run {other.run_id} "):
        resumed(first)

    run = TrainingRun.objects.get(pk=first.run_id)
    assert (run.state, run.attempt, PredictionRunLog.objects.count(), RunEvent.objects.count()) == ("failed", 1, 4, 0)


def test_the_failure_reason_is_that_of_the_latest_rows(subject):
    first = opened(subject)
    store.end_run(first, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))
    second = resumed(first)

    store.fail_open_rows(second, reason=Reason.BAD_DATA, error="too few")

    assert store.failure_reason(second) is Reason.BAD_DATA


def retried(spec: RunSpec, *, without: tuple[AlgorithmOutcome, ...] = (), counts: bool = True) -> RunSpec:
    return store.retry(spec, Diagnosis(summary="drained", reason=Reason.EVICTED), handle=HERE, counts=counts, without=without)


def test_retry_continues_open_rows_only(subject):
    first = opened(subject)
    store.claim(first, HERE, image_digest="")
    store.close_algorithm(first, outcome(first, 0, success=False, error="why"))

    second = retried(first)

    assert (second.attempt, second.algorithms) == (2, first.algorithms[1:])
    run = TrainingRun.objects.get()
    assert (run.state, run.retries, RunSpec.model_validate(run.spec)) == ("pending", 1, second)
    assert PredictionRunLog.objects.count() == 2


def test_rows_without_retry_are_closed_in_the_same_transaction(subject):
    first = opened(subject)
    ends = tuple(outcome(first, position, success=False, error="OOMKilled") for position in (0, 1))

    with pytest.raises(store.RunRefused, match="has no algorithm left"):
        retried(first, without=ends)
    assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {None}

    second = retried(first, without=ends[:1], counts=False)
    assert list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True)) == [False, None]
    assert (second.algorithms, TrainingRun.objects.get().retries) == (first.algorithms[1:], 0)


@pytest.mark.parametrize("end", ["ended", "announced", "superseded"])
def test_a_run_with_an_end_or_an_announced_end_is_not_retried(subject, end: str):
    first = opened(subject)
    if end == "ended":
        store.finish_run(first, RunState.FAILED, Diagnosis(summary="", reason=Reason.KILLED))
    elif end == "announced":
        store.announce_end(first, Diagnosis(summary="cancelled by me", reason=Reason.CANCELLED))
    else:
        retried(first)

    with pytest.raises(store.RunRefused, match="was just retried or ended by another process"):
        retried(first)


def test_resume_includes_failures_of_all_attempts_and_resets_the_retries(subject):
    first = opened(subject)
    second = retried(first, without=(outcome(first, 0, success=False, error="OOMKilled"),))
    store.close_algorithm(second, outcome(second, 0))
    store.finish_from_rows(second, store.unsuccessful(second), Diagnosis(summary=""))
    run = TrainingRun.objects.get()
    assert (run.state, run.reason, run.detail) == ("failed", "error", "failed: lstm")

    third = resumed(second)

    assert [(algorithm.algorithm, algorithm.version) for algorithm in third.algorithms] == [("lstm", "20260101_2")]
    assert (third.attempt, TrainingRun.objects.get().retries) == (3, 0)


def test_the_same_handle_can_claim_again_only_if_allowed(subject):
    spec = opened(subject)
    assert store.claim(spec, HERE, image_digest="", node="node-1")

    assert not store.claim(spec, HERE, image_digest="")
    assert not store.claim(spec, HERE.model_copy(update={"uid": "2"}), image_digest="", again=True)
    assert store.claim(spec, HERE, image_digest="", node="node-2", again=True)
    assert TrainingRun.objects.get().node == "node-2"


def test_an_end_is_announced_once_and_for_one_attempt(subject):
    first = opened(subject)
    assert store.announced_end(first) is None

    assert store.announce_end(first, Diagnosis(summary="no progress", reason=Reason.STALLED))
    assert not store.announce_end(first, Diagnosis(summary="cancelled by me", reason=Reason.CANCELLED), cancelled_by="me")

    assert store.announced_end(first) == Diagnosis(summary="no progress", reason=Reason.STALLED)
    store.end_run(first, RunState.FAILED, Diagnosis(summary="no progress", reason=Reason.STALLED))
    assert store.announced_end(first) is None


def timers() -> store.RunWithTimers:
    (timed,) = store.unfinished_runs()
    return timed


def test_a_heartbeat_is_no_progress(subject):
    spec = opened(subject)
    long_ago = timezone.now() - timedelta(hours=1)
    TrainingRun.objects.update(heartbeat_at=long_ago, progress_at=long_ago)
    assert (timers().heard > 3000, timers().silent > 3000, timers().idle) == (True, True, 0.0)

    store.heartbeat([spec])
    assert (timers().heard < 60, timers().silent < 60, timers().idle > 3000) == (True, True, True)


@pytest.mark.parametrize(
    ("stored", "said", "idle"),
    [
        # The first heartbeat after an outage.
        (-3600, 5, 5),
        (-3600, 3000, 3000),
        # An earlier process of the attempt, which still writes.
        (-10, 3000, 10),
        # The clock of the database was set back.
        (3600, 5, 0),
    ],
)
def test_a_heartbeat_has_the_idle_time_of_the_run(subject, stored: int, said: int, idle: int):
    spec = opened(subject)
    TrainingRun.objects.update(progress_at=timezone.now() + timedelta(seconds=stored))

    store.heartbeat([spec], idle=said)

    assert timers().idle == pytest.approx(idle, abs=5)


def test_silence_counts_from_the_end_of_an_outage(subject, monkeypatch: pytest.MonkeyPatch):
    opened(subject)
    TrainingRun.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    monkeypatch.setattr(queries, "OUTAGES", Outages())
    # Without a grace period, as in the other tests.
    assert timers().silent > 3000
    monkeypatch.setattr(db_retry, "RETURN_GRACE", 120.0)

    store.note_outage()

    assert timers().heard > 3000
    assert timers().silent < 60


def test_unfinished_runs_are_listed_first(subject):
    ended = opened(subject)
    store.end_run(ended, RunState.FAILED, Diagnosis(summary="gone", reason=Reason.LOST))
    active = opened(subject, version="20260101_2")
    TrainingRun.objects.filter(pk=active.run_id).update(queued_at=timezone.now() - timedelta(days=1))

    def listed(**filters) -> list[str]:
        return [run.run_id for run in store.listed_runs(**{"team": None, "subject": None, "state": None, "limit": 5, **filters})]

    assert listed() == [active.run_id, ended.run_id]
    assert listed(limit=1) == [active.run_id]
    assert listed(state=RunState.FAILED, team="team", subject="subject") == [ended.run_id]
    assert listed(team="another") == []
