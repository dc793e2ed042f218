"""Runs that a reconciler closes, with results from a report, an outcome file or a complete model."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now

from gregory.launch.local.runner import LocalRunner
from gregory.launch.runner import Observation, Status
from gregory.ml import artifacts
from gregory.models import PredictionRunLog
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult
from gregory.runs import recovery, report_key, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunHandle, RunOutcome, RunSpec
from gregory.runs.states import RunState
from tests.database_rows import HERE, opened, outcome
from tests.published import publish
from tools.launch_installation import installation

ALIVE = Observation(status=Status.ALIVE, detail="process 7 runs")
GONE = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="process 7 on here ended without a report"))
KILLED = Observation(
    status=Status.TERMINATED,
    diagnosis=Diagnosis(summary="the run's process was killed by signal 9 (SIGKILL)", reason=Reason.KILLED, exit_code=-9),
)
ELSEWHERE = Observation(status=Status.UNKNOWN, detail="process 7 belongs to host there")


class OneAnswer:
    """A runner that observes every run in the same way and allows no retry."""

    durable = False
    max_parallel = 1
    shares_models_dir = True
    max_attempts = 1
    stall_seconds = 0

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.asked: list[int] = []

    def observe(self, handles):
        self.asked.append(len(handles))
        return [self.observation] * len(handles)

    def log_tail(self, spec):
        return "last line"


def reconcile(runner: object, models: Path) -> list[ReconcileResult]:
    return list(Reconciler(runner_for=lambda name: runner, models_dir=models, stale_after=900).reconcile_once())


@pytest.mark.django_db
@pytest.mark.database
class TestClosedRows:
    def test_a_terminated_run_is_closed_with_the_reason(self, subject, tmp_path: Path):
        spec = opened(subject)
        store.claim(spec, RunHandle(host="here", name="7", uid="7"), image_digest="")
        runner = OneAnswer(KILLED)

        reconcile(runner, tmp_path)

        assert runner.asked == [1]
        assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, KILLED.text)}
        assert TrainingRun.objects.values_list("state", "reason", "log_tail").get() == ("failed", "killed", "last line")

    @pytest.mark.parametrize("observation", [ALIVE, ELSEWHERE])
    def test_a_run_that_may_live_is_not_changed(self, subject, tmp_path: Path, observation):
        store.claim(opened(subject), RunHandle(host="here", name="7", uid="7"), image_digest="")
        TrainingRun.objects.update(unknown_since=None if observation is ALIVE else Now())
        before = TrainingRun.objects.values().get()

        reconcile(OneAnswer(observation), tmp_path)

        assert TrainingRun.objects.values().get() == before
        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {None}

    def test_a_complete_model_of_the_row_is_a_success(self, subject, tmp_path: Path):
        spec = opened(subject)
        publish(tmp_path, spec, position=1)

        reconcile(OneAnswer(GONE), tmp_path)

        failed, recovered = PredictionRunLog.objects.order_by("pk")
        assert (failed.success, recovered.success) == (False, True)
        assert recovered.algorithm_run.metrics == {"test_f1": 0.25}
        assert recovered.algorithm_run.artifact_path == "team/subject/lgbm_tfidf/20260101"
        assert (recovered.algorithm_run.data["labelled"], recovered.algorithm_run.data["window"]) == (9, "all articles")
        assert recovered.algorithm_run.compute == {"device": "cpu"}
        assert TrainingRun.objects.get().state == "failed"

    def test_a_run_with_all_models_complete_succeeds(self, subject, tmp_path: Path):
        spec = opened(subject)
        publish(tmp_path, spec, position=0)
        publish(tmp_path, spec, position=1)

        reconcile(OneAnswer(GONE), tmp_path)

        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {True}
        assert TrainingRun.objects.get().state == "succeeded"

    def test_recover_closes_published_models_and_keeps_other_rows_open(self, subject, tmp_path: Path):
        spec = opened(subject)
        publish(tmp_path, spec, position=0)

        assert not recovery.recover(spec, Diagnosis(summary="gone"), models_dir=tmp_path)

        assert list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True)) == [True, None]
        assert TrainingRun.objects.get().state == "pending"

    def test_a_folder_of_another_row_is_no_result(self, subject, tmp_path: Path):
        spec = opened(subject)
        publish(tmp_path, spec, position=0, run_log_id=spec.algorithms[0].run_log_id + 1000)

        reconcile(OneAnswer(GONE), tmp_path)

        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {False}

    def test_a_damaged_folder_is_no_result(self, subject, tmp_path: Path):
        spec = opened(subject)
        (publish(tmp_path, spec, position=0) / "metrics.json").write_text("{}")

        reconcile(OneAnswer(GONE), tmp_path)

        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {False}

    def test_working_folders_of_old_runs_are_removed(self, subject, tmp_path: Path):
        spec = opened(subject)
        (tmp_path / ".runs" / "of-an-older-release").mkdir(parents=True)
        for name in (spec.run_id, "ended"):
            spec.folder(tmp_path).path.with_name(name).mkdir(parents=True)
        # A run can put a link into the folder of its subject, and no other folder is removed through it.
        (tmp_path / "team" / "second").mkdir()
        (tmp_path / "team" / "second" / ".runs").symlink_to(tmp_path / "team" / "subject")

        runner = LocalRunner(installation(tmp_path))

        TrainingRun.objects.filter(pk=spec.run_id).update(runner="of another version")

        assert list(Reconciler(runner_for=lambda name: runner, models_dir=Path(), stale_after=900).collect_garbage(keep_seconds=3600)) == []
        assert list(Reconciler(runner_for=lambda name: runner, models_dir=Path(), stale_after=900).collect_garbage(keep_seconds=-1)) == [
            "the working folder of of-an-older-release",
            "the working folder of ended",
        ]
        assert spec.folder(tmp_path).path.is_dir()

    def test_the_clock_of_the_database_says_when_a_run_has_ended(self, subject, tmp_path: Path):
        kept = {6: True, 8: False}
        folders = {}
        for days in kept:
            spec = opened(subject, version=f"202601{days:02}")
            store.end_run(spec, RunState.FAILED, Diagnosis(summary="a test"))
            folder = folders[days] = tmp_path / ".runs" / spec.run_id
            folder.mkdir(parents=True)
            # The clock of the volume was wrong when a file was last written.
            os.utime(folder, times=(0, 0))
            TrainingRun.objects.filter(pk=spec.run_id).update(finished_at=store.time_of_database() - timedelta(days=days))

        list(Reconciler(runner_for=lambda name: LocalRunner(installation(tmp_path)), models_dir=Path(), stale_after=900).collect_garbage())

        assert {days: folder.exists() for days, folder in folders.items()} == kept


@pytest.mark.django_db
@pytest.mark.database
class TestReports:
    """A report closes rows only if it is that of the process that claimed the run, and a success only with its model."""

    @pytest.fixture
    def key(self) -> str:
        return report_key.new_key(1)

    @pytest.fixture
    def claimed(self, subject, key: str) -> RunSpec:
        spec = opened(subject)
        store.claim(spec, RunHandle(host="here", name="7", uid="7"), image_digest="", key=key)
        return spec

    def test_a_signed_report_counts_if_the_models_are_not_visible(self, claimed, key, tmp_path: Path):
        recovery.replay(claimed, report_of(claimed, outcome(claimed, 0), key=key), models_dir=tmp_path)

        assert results() == [True, None]

    @pytest.mark.parametrize("signed_with", ["", "1.0123"], ids=["no signature", "another key"])
    def test_a_forged_report_is_refused(self, claimed, tmp_path: Path, signed_with: str):
        forged = report_of(claimed, outcome(claimed, 0), outcome(claimed, 1, success=False, error="forged"), key=signed_with)
        write_outcome_file(tmp_path, claimed, forged)

        assert recovery.replay(claimed, forged, models_dir=tmp_path) == ""

        assert results() == [None, None]
        message = "the outcome report of attempt 1 is not believed: it has not the signature of the process that claimed the run"
        assert list(RunEvent.objects.values_list("kind", "message")) == [("report refused", message)] * 2

    def test_a_success_without_its_model_is_refused_where_the_models_are_visible(self, claimed, key, tmp_path: Path):
        write_outcome_file(tmp_path, claimed, report_of(claimed, outcome(claimed, 0), key=key))

        recovery.replay(claimed, "", models_dir=tmp_path)

        assert results() == [None, None]
        assert RunEvent.objects.get().message.endswith("it names a success of lstm 20260101, and there is no such model")

    def test_a_success_has_the_facts_of_its_model_and_the_resources_of_its_report(self, claimed, key, tmp_path: Path):
        folder = publish(tmp_path, claimed, position=0)
        told = outcome(claimed, 0).model_copy(update={"metrics": {"test_f1": 0.999}, "artifact": "other/place", "seconds": 5.0})

        recovery.replay(claimed, report_of(claimed, told, key=key), models_dir=tmp_path)

        row = PredictionRunLog.objects.order_by("pk")[0]
        assert (row.success, row.algorithm_run.metrics, row.algorithm_run.resources["seconds"]) == (True, {"test_f1": 0.25}, 5.0)
        assert row.algorithm_run.artifact_path == "team/subject/lstm/20260101"
        assert row.algorithm_run.artifact_digest == artifacts.digest(folder)

    def test_a_success_at_the_place_of_another_subject_is_refused(self, claimed, key, tmp_path: Path):
        told = outcome(claimed, 0).model_copy(update={"artifact": "team/other/lstm/20260101"})

        recovery.replay(claimed, report_of(claimed, told, key=key), models_dir=tmp_path)

        assert results() == [None, None]

    def test_a_report_of_a_release_without_keys_counts(self, subject, tmp_path: Path):
        spec = opened(subject)
        store.claim(spec, RunHandle(host="here", name="7", uid="7"), image_digest="")

        recovery.replay(spec, report_of(spec, outcome(spec, 0), key=""), models_dir=tmp_path)

        assert results() == [True, None]

    def test_an_outcome_file_of_a_run_that_never_began_names_only_its_interruption(self, subject, tmp_path: Path):
        spec = opened(subject)
        forged = report_of(spec, outcome(spec, 0, success=False, error="forged"), key="", interrupted="no database")
        write_outcome_file(tmp_path, spec, forged)

        assert recovery.replay(spec, "", models_dir=tmp_path) == "no database"

        assert results() == [None, None]

    def test_the_key_of_an_earlier_attempt_signs_nothing(self, claimed, key, tmp_path: Path):
        second = store.retry(claimed, Diagnosis(summary="evicted"), handle=HERE, counts=True)
        # A release without keys opens and claims an attempt without a change of the key.
        store.claim(second, HERE, image_digest="")
        TrainingRun.objects.update(claim_key=key)

        recovery.replay(second, report_of(second, outcome(second, 0), key=""), models_dir=tmp_path)

        assert results() == [True, None]


def report_of(spec: RunSpec, *ends: AlgorithmOutcome, key: str, interrupted: str = "") -> str:
    told = RunOutcome(run_id=spec.run_id, attempt=spec.attempt, algorithms=ends, interrupted=interrupted)
    return (report_key.sign(told, key) if key else told).model_dump_json()


def write_outcome_file(models: Path, spec: RunSpec, report: str) -> None:
    file = spec.folder(models).outcome_file
    file.parent.mkdir(parents=True)
    file.write_text(report)


def results() -> list[bool | None]:
    return list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True))
