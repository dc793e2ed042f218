"""The rules of a resume, with a database, a models folder and a runner with a fixed observation."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from gregory.launch.runner import Observation, Status
from gregory.models import PredictionRunLog
from gregory.reconcile.loop import Reconciler
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunKind, RunSpec, new_token
from gregory.runs.states import RunState
from gregory.training import resume
from gregory.training.request import UsageError
from tests.database_rows import HERE, make_team, opened, outcome
from tests.published import publish

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)
ALIVE = Observation(status=Status.ALIVE, detail="process 7 runs")
GONE = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="process 7 on here ended without a report"))
ELSEWHERE = Observation(status=Status.UNKNOWN, detail="process 7 belongs to host there")


class FixedRunner:
    """A runner with the same observation for every run."""

    durable = False
    max_parallel = 1
    shares_models_dir = True
    max_attempts = 1
    stall_seconds = 0

    def __init__(self, observation: Observation = GONE) -> None:
        self.observation = observation

    def owner_handle(self) -> RunHandle:
        return RunHandle(host="here", name="8", uid="8")

    def observe(self, handles):
        return [self.observation] * len(handles)


def reconciler(observation: Observation, models: Path, *, stale_after: int = 900) -> Reconciler:
    return Reconciler(runner_for=lambda name: FixedRunner(observation), models_dir=models, stale_after=stale_after)


def killed_run(subject, models: Path, *, closed: bool = True, **kwargs) -> RunSpec:
    """A run that was killed at work. closed: a reconciler has finalized it."""
    spec = opened(subject, **kwargs)
    store.claim(spec, HERE, image_digest="")
    spec.folder(models).stages().mkdir(parents=True)
    if closed:
        store.end_run(spec, RunState.FAILED, Diagnosis(summary="signal 9", reason=Reason.KILLED))
    return spec


def attempt(spec: RunSpec, models: Path, observation: Observation = GONE, *, stale_after: int = 900) -> RunSpec:
    run = TrainingRun.objects.get(pk=spec.run_id)
    return resume.next_attempt(
        run, reconciler(observation, models, stale_after=stale_after), token=new_token(), now=NOW, verbosity=3, triggered_by="another"
    )


def refusal(spec: RunSpec, models: Path, observation: Observation = GONE) -> str:
    before = list(TrainingRun.objects.values()), list(PredictionRunLog.objects.values())
    with pytest.raises(store.RunRefused) as caught:
        attempt(spec, models, observation)
    assert (list(TrainingRun.objects.values()), list(PredictionRunLog.objects.values())) == before
    return str(caught.value)


def test_a_closed_run_gets_new_rows_under_the_next_free_versions(subject, tmp_path):
    spec = killed_run(subject, tmp_path)
    (tmp_path / "team" / "subject" / "lstm" / "20260102").mkdir(parents=True)
    PredictionRunLog.objects.create(
        team=subject.team, subject=subject, algorithm="lgbm_tfidf", model_version="20260102", run_type="train", success=True
    )

    following = attempt(spec, tmp_path)

    assert [(a.algorithm, a.version) for a in following.algorithms] == [("lstm", "20260102_2"), ("lgbm_tfidf", "20260102_2")]
    assert (following.run_id, following.attempt, following.verbosity) == (spec.run_id, 2, 3)
    assert (following.config, following.window) == (spec.config, spec.window)
    assert TrainingRun.objects.get().external_name == "8"


def test_a_terminated_run_with_open_rows_keeps_its_rows(subject, tmp_path):
    spec = killed_run(subject, tmp_path, closed=False)

    assert attempt(spec, tmp_path).algorithms == spec.algorithms


def test_the_event_of_a_terminated_run_keeps_its_log_tail(subject, tmp_path):
    spec = killed_run(subject, tmp_path, closed=False)
    end = Diagnosis(summary="the run's process was killed by signal 9", reason=Reason.KILLED, log_tail="Killed in epoch 3")

    attempt(spec, tmp_path, Observation(status=Status.TERMINATED, diagnosis=end))

    (message,) = RunEvent.objects.values_list("message", flat=True)
    assert message.startswith(
        "attempt 1 ended: running: the run's process was killed by signal 9\nlast lines of its log:\nKilled in epoch 3 (queued "
    )


def test_a_published_model_of_a_terminated_run_is_a_success(subject, tmp_path):
    spec = killed_run(subject, tmp_path, closed=False)
    publish(tmp_path, spec, position=0)

    following = attempt(spec, tmp_path)

    assert following.algorithms == spec.algorithms[1:]
    assert list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True)) == [True, None]


def test_a_terminated_run_with_all_models_published_succeeds_without_another_attempt(subject, tmp_path):
    spec = killed_run(subject, tmp_path, closed=False)
    publish(tmp_path, spec, position=0)
    publish(tmp_path, spec, position=1)

    assert attempt(spec, tmp_path) == spec

    assert not store.is_unfinished(spec)
    assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {True}
    assert TrainingRun.objects.values_list("state", "attempt").get() == ("succeeded", 1)


@pytest.mark.parametrize("closed", [True, False])
def test_a_run_whose_process_is_alive_is_refused(subject, tmp_path, closed):
    spec = killed_run(subject, tmp_path, closed=closed)

    assert refusal(spec, tmp_path, ALIVE) == f"run {spec.run_id} of team/subject may be at work, nothing is resumed: process 7 runs"


def test_a_run_on_another_host_is_refused_until_its_heartbeat_is_stale(subject, tmp_path):
    spec = killed_run(subject, tmp_path, closed=False)

    assert refusal(spec, tmp_path, ELSEWHERE) == (
        f"run {spec.run_id} of team/subject may be at work, nothing is resumed: process 7 belongs to host there; its status is unknown"
    )

    TrainingRun.objects.update(heartbeat_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert attempt(spec, tmp_path, ELSEWHERE).attempt == 2


def test_a_run_that_ended_on_another_host_can_be_resumed_here(subject, tmp_path):
    assert attempt(killed_run(subject, tmp_path), tmp_path, ELSEWHERE).attempt == 2


def test_a_successful_run_is_refused(subject, tmp_path):
    spec = killed_run(subject, tmp_path, closed=False)
    for position in (0, 1):
        store.close_algorithm(spec, outcome(spec, position))
    store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)

    assert refusal(spec, tmp_path) == f"run {spec.run_id} of team/subject succeeded: nothing to resume"


@pytest.mark.parametrize(("closed", "remedy"), [(True, "train again"), (False, "run reconcile_runs --once and train again")])
def test_a_run_without_a_working_folder_is_refused_with_a_remedy(subject, tmp_path, closed, remedy):
    spec = killed_run(subject, tmp_path, closed=closed)
    spec.folder(tmp_path).stages().rmdir()

    assert refusal(spec, tmp_path) == f"run {spec.run_id} of team/subject has no working folder, so it cannot be resumed; {remedy}"


def test_a_subject_with_an_unfinished_run_is_refused(subject, tmp_path):
    spec = killed_run(subject, tmp_path)
    other = opened(subject, version="20260101_2")

    assert refusal(spec, tmp_path).startswith(f"team/subject has an unfinished run {other.run_id} (pending since ")


def test_a_subject_of_another_team_is_refused(subject, tmp_path):
    spec = killed_run(subject, tmp_path)
    subject.team = make_team("another")
    subject.save()

    assert refusal(spec, tmp_path) == f"run {spec.run_id} of team/subject: its subject was moved to another team; train it there"


def test_a_deleted_subject_is_refused(subject, tmp_path):
    spec = killed_run(subject, tmp_path)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM gregory_predictionrunlog")
        cursor.execute("DELETE FROM subjects")

    assert refusal(spec, tmp_path) == f"run {spec.run_id} of team/subject: its subject was deleted"


def test_a_specification_of_another_version_is_refused(subject, tmp_path):
    spec = killed_run(subject, tmp_path)
    TrainingRun.objects.update(spec={**TrainingRun.objects.get().spec, "schema_number": 2})

    assert refusal(spec, tmp_path) == (
        f"run {spec.run_id} of team/subject: another version of this program specified the run; resume it with that version, or train again"
    )


def unknown(models: Path, observation: Observation = GONE) -> str:
    with pytest.raises(UsageError) as caught:
        resume.find("nosuchrun", reconciler(observation, models), RunKind.TRAIN)
    return str(caught.value)


def test_an_unknown_id_is_refused_with_the_newest_resumable_runs(subject, tmp_path):
    ids = [killed_run(subject, tmp_path, version=f"2026010{day}").run_id for day in range(1, 8)]
    for age, run_id in enumerate(reversed(ids)):
        TrainingRun.objects.filter(pk=run_id).update(queued_at=datetime(2026, 1, 20 - age, tzinfo=UTC))
    (tmp_path / "team/subject/.runs" / ids[-1] / "stages").rmdir()
    TrainingRun.objects.filter(pk=ids[-2]).update(runner="of another version")

    newest = ", ".join(f"{run_id} (team/subject)" for run_id in reversed(ids[:5]))
    assert unknown(tmp_path) == f"--resume nosuchrun: there is no such run; can be resumed: {newest}"
    assert unknown(tmp_path, ALIVE) == "--resume nosuchrun: there is no such run; can be resumed: none"


def test_a_known_run_is_found_in_any_state(subject, tmp_path):
    spec = killed_run(subject, tmp_path)

    assert resume.find(spec.run_id, reconciler(GONE, tmp_path), RunKind.TRAIN).run_id == spec.run_id


def test_the_hint_has_the_command(subject, tmp_path):
    spec = killed_run(subject, tmp_path)

    assert (
        resume.hint(store.find_run(spec.run_id), reconciler(GONE, tmp_path))
        == f"resume it with: python manage.py train_models --resume {spec.run_id}"
    )


def test_a_run_that_cannot_be_resumed_has_no_hint(subject, tmp_path):
    spec = killed_run(subject, tmp_path)
    assert resume.hint(None, reconciler(GONE, tmp_path)) == ""

    TrainingRun.objects.update(reason=Reason.BAD_DATA)
    assert resume.hint(store.find_run(spec.run_id), reconciler(GONE, tmp_path)) == ""

    TrainingRun.objects.update(reason=Reason.KILLED)
    spec.folder(tmp_path).stages().rmdir()
    assert resume.hint(store.find_run(spec.run_id), reconciler(GONE, tmp_path)) == ""
