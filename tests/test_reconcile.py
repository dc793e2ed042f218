"""Verdicts: closed on evidence only, recovered where a complete model proves success."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gregory import reconcile
from gregory.launch.runners.base import Life, Observation
from gregory.launch.runners.local import LocalRunner
from gregory.ml import artifacts
from gregory.models import PredictionRunLog
from gregory.runs import ledger
from gregory.runs.models import TrainingRun
from gregory.runs.names import Reason, RunState
from tests.launch.installation import installation
from tests.ml.test_artifacts import manifest
from tests.runs.test_ledger import opened, subject  # noqa: F401 - a fixture

ALIVE = Observation(life=Life.ALIVE, detail="process 7 runs")
GONE = Observation(life=Life.DEAD, detail="process 7 on here is gone and left no report")
KILLED = Observation(life=Life.DEAD, detail="the run's process was killed by signal 9 (SIGKILL)", reason=Reason.KILLED, exit_code=-9)
ELSEWHERE = Observation(life=Life.UNKNOWN, detail="process 7 belongs to host there")


@pytest.mark.parametrize(
    ("observation", "state", "silent", "reason", "detail"),
    [
        (ALIVE, RunState.RUNNING, True, None, "process 7 runs"),
        (GONE, RunState.RUNNING, False, Reason.LOST, "lost: process 7 on here is gone and left no report"),
        (KILLED, RunState.RUNNING, False, Reason.KILLED, "the run's process was killed by signal 9 (SIGKILL)"),
        (
            GONE,
            RunState.PENDING,
            False,
            Reason.NOT_STARTED,
            "never started: the command that queued it is gone (process 7 on here is gone and left no report)",
        ),
        (ELSEWHERE, RunState.RUNNING, False, None, "process 7 belongs to host there; not known to be dead"),
        (
            ELSEWHERE,
            RunState.RUNNING,
            True,
            Reason.LOST,
            "lost: process 7 belongs to host there and has given no sign of life for more than 900 s",
        ),
    ],
)
def test_the_rule(observation, state, silent, reason, detail):
    verdict = reconcile.judge(observation, state=state, silent=silent, stale_after=900)

    assert (verdict.reason, verdict.detail) == (reason, detail)


class OneAnswer:
    """A runner that sees every run alike."""

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.asked: list[int] = []

    def observe(self, handles):
        self.asked.append(len(handles))
        return [self.observation] * len(handles)

    def tail(self, spec):
        return "last line"


@pytest.mark.django_db
@pytest.mark.database
class TestApplied:
    def test_a_dead_run_is_closed_with_the_reason(self, subject, tmp_path: Path):  # noqa: F811
        spec = opened(subject)
        ledger.claim(spec, ledger.RunHandle(host="here", name="7", uid="7"), image_digest="")
        runner = OneAnswer(KILLED)

        reconcile.reconcile(lambda name: runner, models_dir=tmp_path, stale_after=900)

        assert runner.asked == [1]
        assert set(PredictionRunLog.objects.values_list("success", "error_message")) == {(False, KILLED.detail)}
        assert TrainingRun.objects.values_list("state", "reason", "log_tail").get() == ("failed", "killed", "last line")

    @pytest.mark.parametrize("observation", [ALIVE, ELSEWHERE])
    def test_what_is_not_known_to_be_dead_is_not_touched(self, subject, tmp_path: Path, observation):  # noqa: F811
        opened(subject)
        before = TrainingRun.objects.values().get()

        reconcile.reconcile(lambda name: OneAnswer(observation), models_dir=tmp_path, stale_after=900)

        assert TrainingRun.objects.values().get() == before
        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {None}

    def test_a_complete_model_of_exactly_this_row_is_a_success_whatever_happened_after(self, subject, tmp_path: Path):  # noqa: F811
        spec = opened(subject)
        publish(tmp_path, spec, position=1)

        reconcile.reconcile(lambda name: OneAnswer(GONE), models_dir=tmp_path, stale_after=900)

        failed, recovered = PredictionRunLog.objects.order_by("pk")
        assert (failed.success, recovered.success) == (False, True)
        assert recovered.algorithm_run.metrics == {"test_f1": 0.25}
        assert recovered.algorithm_run.artifact_path == "team/subject/lgbm_tfidf/20260101"
        assert (recovered.algorithm_run.data["labelled"], recovered.algorithm_run.data["window"]) == (9, "all articles")
        assert recovered.algorithm_run.compute == {"device": "cpu"}
        assert TrainingRun.objects.get().state == "failed"

    def test_a_run_whose_models_are_all_complete_succeeded(self, subject, tmp_path: Path):  # noqa: F811
        spec = opened(subject)
        publish(tmp_path, spec, position=0)
        publish(tmp_path, spec, position=1)

        reconcile.reconcile(lambda name: OneAnswer(GONE), models_dir=tmp_path, stale_after=900)

        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {True}
        assert TrainingRun.objects.get().state == "succeeded"

    def test_what_can_be_recovered_is_and_the_rest_stays_open(self, subject, tmp_path: Path):  # noqa: F811
        spec = opened(subject)
        publish(tmp_path, spec, position=0)

        assert not reconcile.recover(spec, "gone", models_dir=tmp_path)

        assert list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True)) == [True, None]
        assert TrainingRun.objects.get().state == "pending"

    def test_a_folder_of_another_row_proves_nothing(self, subject, tmp_path: Path):  # noqa: F811
        spec = opened(subject)
        publish(tmp_path, spec, position=0, run_log_id=spec.algorithms[0].run_log_id + 1000)

        reconcile.reconcile(lambda name: OneAnswer(GONE), models_dir=tmp_path, stale_after=900)

        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {False}

    def test_a_damaged_folder_proves_nothing(self, subject, tmp_path: Path):  # noqa: F811
        spec = opened(subject)
        (publish(tmp_path, spec, position=0) / "metrics.json").write_text("{}")

        reconcile.reconcile(lambda name: OneAnswer(GONE), models_dir=tmp_path, stale_after=900)

        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {False}

    def test_working_folders_go_when_their_run_ended_long_ago(self, subject, tmp_path: Path):  # noqa: F811
        spec = opened(subject)
        for name in (spec.run_id, "ended"):
            (tmp_path / ".runs" / name).mkdir(parents=True)

        runner = LocalRunner(installation(tmp_path))

        TrainingRun.objects.filter(pk=spec.run_id).update(runner="of another version")

        assert reconcile.sweep(lambda name: runner, keep_seconds=3600) == []
        assert reconcile.sweep(lambda name: runner, keep_seconds=-1) == ["the working folder of ended"]
        assert (tmp_path / ".runs" / spec.run_id).is_dir()


def publish(models: Path, spec, *, position: int, run_log_id: int | None = None) -> Path:
    """A sealed version folder for one algorithm of a run."""
    algorithm = spec.algorithms[position]
    staged = models / ".runs" / spec.run_id / f"staged-{position}"
    staged.mkdir(parents=True)
    (staged / "metrics.json").write_text(json.dumps({"test_f1": 0.25}))
    (staged / "evaluation.json").write_text("{}")
    sealed = manifest(
        algorithm=algorithm.algorithm, run_id=spec.run_id, run_log_id=run_log_id or algorithm.run_log_id, created_at=datetime.now(UTC)
    )
    artifacts.seal(staged, sealed.model_copy(update={"compute": {"device": "cpu"}}))
    destination = artifacts.version_folder(
        models, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    artifacts.publish(staged, destination)
    return destination
