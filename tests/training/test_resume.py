"""May this run be resumed, and as what: the rules, against a database and a models folder, with a runner that says what it is told."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from gregory.launch.runner import Observation, Status
from gregory.models import PredictionRunLog
from gregory.reconcile.loop import Reconciler
from gregory.runs import store
from gregory.runs.diagnosis import SUCCEEDED, Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState
from gregory.training import resume
from gregory.training.request import UsageError
from tests.database_rows import HERE, opened, outcome
from tests.published import publish

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)
ALIVE = Observation(status=Status.ALIVE, detail="process 7 runs")
GONE = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="process 7 on here ended without a report"))
ELSEWHERE = Observation(status=Status.UNKNOWN, detail="process 7 belongs to host there")


class Seen:
    """A runner that sees every run alike."""

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


def seen(observation: Observation, models: Path, *, stale_after: int = 900) -> Reconciler:
    return Reconciler(runner_for=lambda name: Seen(observation), models_dir=models, stale_after=stale_after)


def died(subject, models: Path, *, closed: bool = True, **kwargs) -> RunSpec:
    """A run that was killed at work, of which the reconciler has heard or not."""
    spec = opened(subject, **kwargs)
    store.claim(spec, HERE, image_digest="")
    (models / ".runs" / spec.run_id / "stages").mkdir(parents=True)
    if closed:
        store.end_run(spec, RunState.FAILED, Diagnosis(summary="signal 9", reason=Reason.KILLED))
    return spec


def attempt(spec: RunSpec, models: Path, observation: Observation = GONE, *, stale_after: int = 900) -> RunSpec:
    run = TrainingRun.objects.get(pk=spec.run_id)
    return resume.next_attempt(run, seen(observation, models, stale_after=stale_after), now=NOW, verbosity=3, triggered_by="another")


def refusal(spec: RunSpec, models: Path, observation: Observation = GONE) -> str:
    before = list(TrainingRun.objects.values()), list(PredictionRunLog.objects.values())
    with pytest.raises(store.RunRefused) as caught:
        attempt(spec, models, observation)
    assert (list(TrainingRun.objects.values()), list(PredictionRunLog.objects.values())) == before
    return str(caught.value)


def test_a_closed_run_gets_new_rows_under_the_next_free_versions(subject, tmp_path):
    spec = died(subject, tmp_path)
    (tmp_path / "team" / "subject" / "lstm" / "20260102").mkdir(parents=True)
    PredictionRunLog.objects.create(
        team=subject.team, subject=subject, algorithm="lgbm_tfidf", model_version="20260102", run_type="train", success=True
    )

    following = attempt(spec, tmp_path)

    assert [(a.algorithm, a.version) for a in following.algorithms] == [("lstm", "20260102_2"), ("lgbm_tfidf", "20260102_2")]
    assert (following.run_id, following.attempt, following.verbosity) == (spec.run_id, 2, 3)
    assert (following.config, following.window) == (spec.config, spec.window)
    assert TrainingRun.objects.get().external_name == "8"


def test_a_dead_run_that_nobody_closed_keeps_its_rows(subject, tmp_path):
    spec = died(subject, tmp_path, closed=False)

    assert attempt(spec, tmp_path).algorithms == spec.algorithms


def test_what_a_dead_run_had_published_is_a_success_and_not_trained_again(subject, tmp_path):
    spec = died(subject, tmp_path, closed=False)
    publish(tmp_path, spec, position=0)

    following = attempt(spec, tmp_path)

    assert following.algorithms == spec.algorithms[1:]
    assert list(PredictionRunLog.objects.order_by("pk").values_list("success", flat=True)) == [True, None]


def test_a_dead_run_whose_models_are_all_complete_ends_well_without_another_attempt(subject, tmp_path):
    spec = died(subject, tmp_path, closed=False)
    publish(tmp_path, spec, position=0)
    publish(tmp_path, spec, position=1)

    assert attempt(spec, tmp_path) == spec

    assert not store.is_unfinished(spec)
    assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {True}
    assert TrainingRun.objects.values_list("state", "attempt").get() == ("succeeded", 1)


@pytest.mark.parametrize("closed", [True, False])
def test_a_run_that_is_seen_alive_is_left_alone_whatever_the_ledger_says(subject, tmp_path, closed):
    spec = died(subject, tmp_path, closed=closed)

    assert refusal(spec, tmp_path, ALIVE) == f"run {spec.run_id} of team/subject may be at work, nothing is resumed: process 7 runs"


def test_a_run_that_may_be_alive_elsewhere_is_left_alone_until_it_has_been_silent(subject, tmp_path):
    spec = died(subject, tmp_path, closed=False)

    assert refusal(spec, tmp_path, ELSEWHERE) == (
        f"run {spec.run_id} of team/subject may be at work, nothing is resumed: process 7 belongs to host there; its status is unknown"
    )

    TrainingRun.objects.update(heartbeat_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert attempt(spec, tmp_path, ELSEWHERE).attempt == 2


def test_a_run_that_ended_elsewhere_may_go_on_here(subject, tmp_path):
    assert attempt(died(subject, tmp_path), tmp_path, ELSEWHERE).attempt == 2


def test_a_run_that_succeeded_has_nothing_to_resume(subject, tmp_path):
    spec = died(subject, tmp_path, closed=False)
    for position in (0, 1):
        store.close_algorithm(spec, outcome(spec, position))
    store.finish_run(spec, RunState.SUCCEEDED, SUCCEEDED)

    assert refusal(spec, tmp_path) == f"run {spec.run_id} of team/subject succeeded: nothing to resume"


@pytest.mark.parametrize(("closed", "remedy"), [(True, "train again"), (False, "run reconcile_runs --once and train again")])
def test_a_run_of_which_nothing_is_left_is_trained_again_instead(subject, tmp_path, closed, remedy):
    spec = died(subject, tmp_path, closed=closed)
    (tmp_path / ".runs" / spec.run_id / "stages").rmdir()

    assert refusal(spec, tmp_path) == f"run {spec.run_id} of team/subject has no working folder, so it cannot be resumed; {remedy}"


def test_a_subject_that_is_being_trained_is_waited_for(subject, tmp_path):
    spec = died(subject, tmp_path)
    other = opened(subject, version="20260101_2")

    assert refusal(spec, tmp_path).startswith(f"team/subject has an unfinished run {other.run_id} (pending since ")


def test_a_subject_that_was_deleted_by_a_statement_is_no_longer_trained(subject, tmp_path):
    spec = died(subject, tmp_path)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM gregory_predictionrunlog")
        cursor.execute("DELETE FROM subjects")

    assert refusal(spec, tmp_path) == f"run {spec.run_id} of team/subject: its subject was deleted"


def test_a_specification_that_this_version_does_not_understand_is_refused(subject, tmp_path):
    spec = died(subject, tmp_path)
    TrainingRun.objects.update(spec={**TrainingRun.objects.get().spec, "schema_number": 2})

    assert refusal(spec, tmp_path) == f"run {spec.run_id} was specified by another version of this program; train again"


def unknown(models: Path, observation: Observation = GONE) -> str:
    with pytest.raises(UsageError) as caught:
        resume.find("nosuchrun", seen(observation, models))
    return str(caught.value)


def test_an_unknown_id_is_answered_with_the_newest_that_could_be_meant(subject, tmp_path):
    ids = [died(subject, tmp_path, version=f"2026010{day}").run_id for day in range(1, 8)]
    for age, run_id in enumerate(reversed(ids)):
        TrainingRun.objects.filter(pk=run_id).update(queued_at=datetime(2026, 1, 20 - age, tzinfo=UTC))
    (tmp_path / ".runs" / ids[-1] / "stages").rmdir()
    TrainingRun.objects.filter(pk=ids[-2]).update(runner="of another version")

    newest = ", ".join(f"{run_id} (team/subject)" for run_id in reversed(ids[:5]))
    assert unknown(tmp_path) == f"--resume nosuchrun: there is no such run; can be resumed: {newest}"
    assert unknown(tmp_path, ALIVE) == "--resume nosuchrun: there is no such run; can be resumed: none"


def test_a_known_id_is_found_whatever_became_of_it(subject, tmp_path):
    spec = died(subject, tmp_path)

    assert resume.find(spec.run_id, seen(GONE, tmp_path)).run_id == spec.run_id


def test_the_hint_is_the_command(subject, tmp_path):
    spec = died(subject, tmp_path)

    assert (
        resume.hint(store.find_run(spec.run_id), seen(GONE, tmp_path))
        == f"resume it with: python manage.py train_models --resume {spec.run_id}"
    )


def test_there_is_no_hint_where_there_is_nothing_to_resume(subject, tmp_path):
    spec = died(subject, tmp_path)
    assert resume.hint(None, seen(GONE, tmp_path)) == ""

    TrainingRun.objects.update(reason=Reason.BAD_DATA)
    assert resume.hint(store.find_run(spec.run_id), seen(GONE, tmp_path)) == ""

    TrainingRun.objects.update(reason=Reason.KILLED)
    (tmp_path / ".runs" / spec.run_id / "stages").rmdir()
    assert resume.hint(store.find_run(spec.run_id), seen(GONE, tmp_path)) == ""
