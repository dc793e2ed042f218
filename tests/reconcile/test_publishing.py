"""A run that was killed between the name of its model and its row: row and folder agree, whoever reads first."""

import errno
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

from gregory.env import Environment
from gregory.launch.errors import ClusterError, SubmitError
from gregory.ml import artifacts
from gregory.ml.progress import Progress
from gregory.models import PredictionRunLog
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ReconcileResult, ResultKind
from gregory.runs import db_retry, report_key, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunOutcome, RunSpec
from gregory.runs.states import RunState
from gregory.shutdown import ShutdownRequest
from job import entrypoint
from job.outcome_report import OutcomeReport
from job.supervise import Usage
from job.training import TrainingPipeline as Pipeline
from tests.database_rows import HERE, planned
from tests.published import finished_training, publish
from tests.reconcile.pretend_cluster import PretendCluster, handle_of

pytestmark = [pytest.mark.django_db, pytest.mark.database]

KILLED = {"reason": Reason.KILLED, "summary": "its pod was ended by signal 9 (SIGKILL)", "exit_code": 137}
MAXIMUM = PretendCluster().max_attempts


class Killed(BaseException):
    """The process of the run ends here. Nothing of it runs afterwards."""


@pytest.fixture(autouse=True)
def in_one_process(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MODELS_DIR = tmp_path / "models"
    settings.MODELS_DIR.mkdir()
    monkeypatch.setattr(db_retry.connection, "close", lambda: None)
    monkeypatch.setattr(ShutdownRequest, "listen", lambda self, *signals, **always: None)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def reconcile(cluster: PretendCluster, tmp_path: Path) -> Callable[[], ReconcileResult]:
    """Reconcile without the models volume."""

    def reconcile() -> ReconcileResult:
        (result,) = Reconciler(runner_for=cluster, models_dir=tmp_path / "nowhere", stale_after=900).reconcile_once()
        return result

    return reconcile


@pytest.fixture
def spec(subject, cluster: PretendCluster) -> RunSpec:
    spec = store.open_run(planned(subject), runner="pretend", handle=HERE, triggered_by="a test")
    store.mark_submitted(spec, cluster.submit(cluster.render(spec)))
    return spec


def execute(spec: RunSpec, stages: Callable[[Pipeline], None], monkeypatch: pytest.MonkeyPatch, log: Path | None = None) -> int:
    monkeypatch.setattr(Pipeline, "run", stages)
    return entrypoint.execute(spec, handle_of(spec), Environment(GREGORY_RETRIED=True, GREGORY_TERMINATION_LOG=log))


def train_first(pipeline: Pipeline) -> None:
    """The first algorithm, from its finished stage to its row."""
    spec = pipeline._spec
    store.begin_algorithm(spec, spec.algorithms[0].run_log_id)
    out = finished_training(pipeline.stages_dir, spec, position=0)
    pipeline._stages.usage["train"] = Usage(seconds=1.0, peak_bytes=1)
    pipeline._close(*pipeline._publish(spec.algorithms[0], out))


def kill_after_the_name(spec: RunSpec, monkeypatch: pytest.MonkeyPatch, log: Path | None = None) -> None:
    """Execute the run until its first model has its name."""

    def killed(*args: object) -> bool:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store, "close_algorithm", killed)
        with pytest.raises(Killed):
            execute(spec, train_first, patch, log)


def nothing_to_train(pipeline: Pipeline) -> None:
    pytest.fail("the model is complete")


def rows() -> list[tuple[bool | None, str]]:
    return list(PredictionRunLog.objects.order_by("pk").values_list("success", "algorithm_run__reason"))


def run() -> TrainingRun:
    return TrainingRun.objects.get()


def now() -> RunSpec:
    return RunSpec.model_validate(run().spec)


def test_a_killed_run_is_closed_by_an_attempt_that_reads_the_models(spec, cluster, reconcile, models, monkeypatch):
    kill_after_the_name(spec, monkeypatch)
    cluster.terminate(spec, **KILLED)

    assert reconcile().action is ResultKind.RETRIED

    assert rows() == [(None, ""), (False, "killed")]
    assert (run().attempt, run().retries, [algorithm.algorithm for algorithm in now().algorithms]) == (2, 1, ["lstm"])
    assert execute(now(), nothing_to_train, monkeypatch) == 1
    assert rows() == [(True, ""), (False, "killed")]
    assert (run().state, run().reason) == ("failed", "killed")
    (folder,) = artifacts.version_folders(models, pytest.fail)
    assert AlgorithmRun.objects.get(run_log__success=True).artifact_digest == artifacts.digest(folder)


def test_the_termination_log_says_so_if_the_database_was_away(spec, cluster, reconcile, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "begin_publishing", lambda *args: None)
    kill_after_the_name(spec, monkeypatch, tmp_path / "log")
    monkeypatch.undo()
    cluster.terminate(spec, **KILLED, report=(tmp_path / "log").read_text())

    reconcile()

    assert rows() == [(None, ""), (False, "killed")]


def test_an_attempt_that_never_began_does_not_end_the_row(spec, cluster, reconcile, monkeypatch):
    kill_after_the_name(spec, monkeypatch)
    cluster.terminate(spec, **KILLED)
    reconcile()
    cluster.terminate(now(), reason=Reason.IMAGE_PULL, summary="ErrImagePull")

    reconcile()

    assert (run().attempt, rows()) == (3, [(None, ""), (False, "killed")])


def test_these_attempts_are_limited(spec, cluster, reconcile, monkeypatch):
    kill_after_the_name(spec, monkeypatch)
    for _ in range(20):
        cluster.terminate(now(), **KILLED)
        if reconcile().action is not ResultKind.RETRIED:
            break

    assert (run().state, run().attempt, rows()) == ("failed", MAXIMUM + 4, [(False, "killed")] * 2)


class TestErrorAfterTheName:
    """The model has its version folder, and the process gets an error before it writes the row."""

    @pytest.mark.parametrize("function", ["gregory.ml.artifacts.flush", "job.publishing.read_json"])
    @pytest.mark.parametrize("renamed", [False, True])
    def test_the_row_is_a_success(self, spec, models, monkeypatch, function, renamed):
        if renamed:
            lost = spec.algorithms[0].model_copy(update={"run_log_id": 4711})
            publish(models, spec.model_copy(update={"run_id": "lost", "algorithms": (lost,)}), position=0)
        with monkeypatch.context() as patch:
            broken_after_the_name(patch, models, function)
            assert execute(spec, train_first, patch) == 1

        assert rows()[0] == (True, "")
        *_, folder = artifacts.version_folders(models, pytest.fail)
        assert AlgorithmRun.objects.get(run_log__success=True).artifact_digest == artifacts.digest(folder)

    def test_a_volume_that_does_not_answer_leaves_the_end_to_another_attempt(self, spec, cluster, reconcile, models, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            broken_after_the_name(patch, models, "gregory.ml.artifacts.flush", "gregory.runs.recovery.published")
            assert execute(spec, train_first, patch, tmp_path / "log") == 1
        assert (run().state, rows()) == ("running", [(None, ""), (None, "")])
        cluster.terminate(spec, exit_code=1, report=(tmp_path / "log").read_text())

        assert reconcile().reason is Reason.INTERRUPTED

        assert run().attempt == 2
        assert execute(now(), lambda pipeline: None, monkeypatch) == 1
        assert rows() == [(True, ""), (None, "")]


def broken_after_the_name(patch: pytest.MonkeyPatch, models: Path, *functions: str) -> None:
    """These functions fail as soon as a model has its version folder."""
    before = list(artifacts.version_folders(models, pytest.fail))
    for name in functions:
        place, _, attribute = name.rpartition(".")
        whole = getattr(import_module(place), attribute)

        def call(*args: Any, whole: Callable[..., Any] = whole) -> Any:
            if list(artifacts.version_folders(models, pytest.fail)) != before:
                raise OSError(errno.EIO, "Input/output error")
            return whole(*args)

        patch.setattr(name, call)


class TestQueuedAgain:
    """The attempt that is to end the row is not submitted."""

    @pytest.fixture(autouse=True)
    def queued(self, spec, cluster, reconcile, monkeypatch) -> None:
        kill_after_the_name(spec, monkeypatch)
        cluster.terminate(spec, **KILLED)
        cluster.refuses = ClusterError("no answer")
        reconcile()
        assert (run().state, run().attempt) == ("pending", 2)

    def test_a_refusal_does_not_fail_the_row_of_a_complete_model(self, cluster, reconcile, monkeypatch):
        cluster.refuses = SubmitError("denied by a webhook", reason=Reason.REFUSED)
        store_silence()
        assert "it ends when its models were looked for" in reconcile().detail
        assert (run().state, run().reason, rows()) == ("pending", "refused", [(None, ""), (False, "killed")])
        cluster.refuses = None

        reconcile()

        assert execute(now(), nothing_to_train, monkeypatch) == 1
        assert (run().attempt, rows()) == (3, [(True, ""), (False, "killed")])

    def test_a_reconciler_with_the_models_ends_a_refused_run(self, cluster, reconcile, models):
        cluster.refuses = SubmitError("denied by a webhook", reason=Reason.REFUSED)
        store_silence()
        reconcile()

        list(Reconciler(runner_for=cluster, models_dir=models, stale_after=900).reconcile_once())

        assert (run().state, rows()) == ("failed", [(True, ""), (False, "killed")])

    def test_a_run_that_is_always_refused_ends(self, cluster, reconcile):
        cluster.refuses = SubmitError("denied by a webhook", reason=Reason.REFUSED)
        for _ in range(30):
            store_silence()
            reconcile()
            if run().state == "failed":
                break

        assert (run().state, run().reason, run().attempt) == ("failed", "refused", MAXIMUM + 4)

    def test_a_command_that_ends_before_its_submission_fails_no_row_of_a_complete_model(self, reconcile, monkeypatch):
        end = Diagnosis(summary="interrupted by signal 15 (SIGTERM) before it was submitted", reason=Reason.INTERRUPTED)
        assert store.end_queued({run().run_id: run().attempt_token}, RunState.CANCELLED, end) == 0

        reconcile()

        assert execute(now(), nothing_to_train, monkeypatch) == 1
        assert (run().attempt, rows()) == (3, [(True, ""), (False, "killed")])

    @pytest.mark.parametrize("every", [False, True])
    def test_a_cancellation_does_not_fail_the_row_of_a_complete_model(self, cluster, tmp_path, monkeypatch, every):
        ours = Reconciler(runner_for=cluster, models_dir=tmp_path / "nowhere", stale_after=900)
        _ = list(ours.cancel_all(cluster, by="me")) if every else ours.cancel(run(), by="me")

        assert (run().attempt, rows()) == (3, [(None, ""), (False, "killed")])
        assert execute(now(), nothing_to_train, monkeypatch) == 1
        assert rows() == [(True, ""), (False, "killed")]


def store_silence() -> None:
    """Every reconciler may submit the queued run."""
    TrainingRun.objects.update(heartbeat_at=Now() - timedelta(seconds=61))


def test_a_cancelled_run_ends_as_cancelled_after_its_model_was_found(spec, cluster, reconcile, monkeypatch):
    kill_after_the_name(spec, monkeypatch)
    store.announce_end(spec, Diagnosis(summary="cancelled by me", reason=Reason.CANCELLED), cancelled_by="me")
    cluster.terminate(spec, **KILLED)

    reconcile()

    assert execute(now(), nothing_to_train, monkeypatch) == 1
    assert rows() == [(True, ""), (False, "cancelled")]
    assert (run().state, run().reason) == ("cancelled", "cancelled")


def test_an_evicted_run_continues_with_all_rows(spec, cluster, reconcile, monkeypatch):
    kill_after_the_name(spec, monkeypatch)
    cluster.terminate(spec, reason=Reason.EVICTED, summary="evicted")

    reconcile()

    assert (run().attempt, run().retries, rows()) == (2, 1, [(None, ""), (None, "")])


def test_out_of_memory_during_the_publication_fails_no_other_algorithm(spec, cluster, reconcile, monkeypatch):
    kill_after_the_name(spec, monkeypatch)
    cluster.terminate(spec, reason=Reason.OUT_OF_MEMORY, summary="OOMKilled")

    reconcile()

    assert (run().attempt, rows()) == (2, [(None, ""), (None, "")])


def test_progress_that_comes_late_does_not_hide_the_publication(spec, monkeypatch):
    kill_after_the_name(spec, monkeypatch)

    store.record_progress(spec, spec.algorithms[0].run_log_id, stage="train", progress=Progress(message="late"))

    assert store.being_published(spec) == {spec.algorithms[0].run_log_id}


def test_the_report_says_so_only_while_the_end_of_the_row_is_not_known(spec, tmp_path: Path):
    report = OutcomeReport(spec, key="1.key", models_dir=tmp_path, termination_log=tmp_path / "log")
    report.publishing(spec.algorithms[0])
    report.write()

    def ids() -> list[int]:
        told = report_key.verify(RunOutcome.model_validate_json((tmp_path / "log").read_text()), "1.key")
        return [outcome.run_log_id for outcome in told.algorithms]

    row = spec.algorithms[0].run_log_id
    assert ids() == [-row]
    report.add(AlgorithmOutcome(**dict(spec.algorithms[0]), success=True))
    report.write()
    assert ids() == [row]
