"""`train_models --resume`: the next attempt of a run, and refusals."""

from pathlib import Path

import pytest

from gregory.models import PredictionRunLog
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from tests.commands.command_line import DAY, MS, USAGE, Shell, rows
from tests.published import publish

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def stopped(run: Shell, feed: None, models: Path) -> RunSpec:
    """A run of two trainings that was killed during the first."""
    assert run(*MS, "--algo", "lstm,lgbm_tfidf", "--prob-threshold", "0.5", "--runner", "instant").code == 0
    training = TrainingRun.objects.get()
    PredictionRunLog.objects.update(success=None, run_finished=None)
    AlgorithmRun.objects.update(stage="train")
    TrainingRun.objects.update(state="running")
    spec = RunSpec.model_validate(training.spec)
    spec.folder(models).stages().mkdir(parents=True)
    return spec


def test_resume_starts_the_next_attempt_with_the_same_id(run, stopped):
    store.end_run(stopped, RunState.FAILED, Diagnosis(summary="signal 9", reason=Reason.KILLED))

    done = run("--resume", stopped.run_id)

    assert (done.code, done.err) == (0, "")
    first, *events = done.out.splitlines()
    assert first == f"neurology/ms: run {stopped.run_id} is resumed, attempt 2: lstm {DAY}_2, lgbm_tfidf {DAY}_2"
    assert [line.split(": ")[1] for line in events] == [f"Finished version {DAY}_2"] * 2
    assert rows() == [
        ("ms", "lstm", DAY, False),
        ("ms", "lgbm_tfidf", DAY, False),
        ("ms", "lstm", f"{DAY}_2", True),
        ("ms", "lgbm_tfidf", f"{DAY}_2", True),
    ]
    training = TrainingRun.objects.get()
    assert (training.run_id, training.attempt, training.state) == (stopped.run_id, 2, "succeeded")
    assert training.spec["config"]["prob_threshold"] == 0.5


def test_resume_trains_the_open_rows(run, stopped):
    done = run("--resume", stopped.run_id, "--runner", "instant", "--verbose", "3")

    assert (done.code, done.err) == (0, "")
    assert "a warning" in done.out
    assert done.out.splitlines()[-4].split()[:5] == ["neurology", "ms", "lstm", DAY, "success"]
    assert rows() == [("ms", "lstm", DAY, True), ("ms", "lgbm_tfidf", DAY, True)]


def test_resume_trains_nothing_if_every_model_is_complete(run, stopped, models):
    for position in (0, 1):
        publish(models, stopped, position=position)

    assert run("--resume", stopped.run_id) == (
        0,
        f"neurology/ms: every model of run {stopped.run_id} is complete; the rows are closed as successes and nothing is trained\n",
        "",
    )
    assert rows() == [("ms", "lstm", DAY, True), ("ms", "lgbm_tfidf", DAY, True)]


@pytest.mark.parametrize("flags", [("--team", "neurology"), ("--prob-threshold", "0.8"), ("--lookback-days", "90"), ("--dry-run",)])
def test_resume_excludes_flags_of_the_specification(run, stopped, flags: tuple[str, ...]):
    done = run("--resume", stopped.run_id, *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(
        f"\nCommandError: --resume and {flags[0]} exclude each other: run {stopped.run_id} continues with its stored specification\n"
    )
    assert TrainingRun.objects.get().attempt == 1


def test_resume_refuses_another_runner(run, stopped):
    done = run("--resume", stopped.run_id, "--runner", "local")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(f"\nCommandError: --runner local: run {stopped.run_id} belongs to the runner instant; omit --runner\n")
    assert TrainingRun.objects.get().attempt == 1


def test_resume_of_an_unknown_run_is_refused_with_the_resumable_ones(run, stopped):
    done = run("--resume", "nosuchrun")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(USAGE)
    assert done.err.endswith(f"\nCommandError: --resume nosuchrun: there is no such run; can be resumed: {stopped.run_id} (neurology/ms)\n")


def test_resume_of_a_successful_run_is_refused_with_1(run, feed):
    assert run(*MS, "--algo", "lstm", "--runner", "instant").code == 0
    run_id = TrainingRun.objects.get().run_id

    assert run("--resume", run_id) == (1, "", f"CommandError: run {run_id} of neurology/ms succeeded: nothing to resume\n")
    assert run("--resume", run_id, "--verbose", "0") == (1, "", "")


def test_resume_needs_base_models(run, stopped, models, settings):
    settings.BASE_MODELS_DIR = models / "none"
    done = run("--resume", stopped.run_id)
    assert (done.code, done.out) == (1, "")
    assert "there is no base-model bundle" in done.err
    assert TrainingRun.objects.get().attempt == 1
