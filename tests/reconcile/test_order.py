"""Ends come first, submissions have their own pace, and every act checks that its cause still holds."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from gregory.launch.errors import SubmitError
from gregory.launch.runner import Observation, Status
from gregory.models import PredictionRunLog, Subject
from gregory.reconcile.loop import Reconciler
from gregory.reconcile.results import ResultKind
from gregory.reconcile.submissions import Request, Submissions
from gregory.reconcile.submit import Submission
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import RunEvent, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from tests.database_rows import HERE, planned
from tests.reconcile.pretend_cluster import PretendCluster, handle_of, job

pytestmark = [pytest.mark.django_db, pytest.mark.database]

WORKS = Observation(status=Status.ALIVE, detail="its pod runs", node="node-1")
IMAGE_PULL = Observation(
    status=Status.PENDING,
    detail="ErrImagePull: not found; for 601 s",
    diagnosis=Diagnosis(summary="ErrImagePull: not found; for 601 s", reason=Reason.IMAGE_PULL),
)


@pytest.fixture
def stuck(cluster: PretendCluster) -> Iterator[threading.Event]:
    """A webhook that answers no submission before this event."""
    answer = threading.Event()
    cluster.on_submit = lambda spec, handle: answer.wait(300) and None
    yield answer
    answer.set()


def opened(subject: Subject, number: int = 0) -> RunSpec:
    """A queued run, which every reconciler may submit."""
    other = Subject.objects.create(subject_name=f"{number}", subject_slug=f"s{number}", team=subject.team)
    spec = store.open_run(planned(other, version=f"2026010{number}"), runner="pretend", handle=HERE, triggered_by="a test")
    ago(spec, heartbeat_at=61)
    return spec


def submitted(subject: Subject, cluster: PretendCluster, number: int = 0) -> RunSpec:
    spec = opened(subject, number)
    store.mark_submitted(spec, handle_of(spec))
    cluster.jobs[job(spec)] = WORKS
    return spec


def at_work(subject: Subject, cluster: PretendCluster, number: int = 0) -> RunSpec:
    spec = submitted(subject, cluster, number)
    begin(spec)
    return spec


def begin(spec: RunSpec) -> None:
    assert store.claim(spec, handle_of(spec), image_digest="")


def ago(spec: RunSpec, **clocks: float) -> None:
    """Move times of the run into the past, by seconds."""
    times = {name: Now() - timedelta(seconds=seconds) for name, seconds in clocks.items()}
    TrainingRun.objects.filter(pk=spec.run_id).update(**times)


def act(reconciler: Reconciler, seconds: float = 0.2) -> dict[str, tuple[ResultKind, str]]:
    results = list(reconciler.reconcile_once(submission_seconds=seconds))
    assert len(results) == len({result.run.run_id for result in results})
    return {result.run.run_id: (result.action, result.detail) for result in results}


def state(spec: RunSpec) -> tuple[str, str]:
    return TrainingRun.objects.values_list("state", "reason").get(pk=spec.run_id)


class TestOrder:
    def test_a_submission_without_an_answer_delays_no_end(self, subject, cluster, reconciler, stuck):
        """The queued run is the older one. An end was written 355 s late before."""
        queued, killed = opened(subject, 0), at_work(subject, cluster, 1)
        cluster.terminate(killed, reason=Reason.KILLED)

        results = act(reconciler)

        assert results == {
            queued.run_id: (ResultKind.LEFT, "its submission has no answer yet"),
            killed.run_id: (ResultKind.CLOSED, "it ended"),
        }
        assert (state(killed), state(queued)) == (("failed", "killed"), ("pending", ""))

    def test_no_run_is_submitted_twice_and_a_later_pass_records_the_answer(self, subject, cluster, reconciler, stuck):
        queued = opened(subject)
        for _ in range(2):
            assert act(reconciler) == {queued.run_id: (ResultKind.LEFT, "its submission has no answer yet")}
        assert cluster.submitted == [job(queued)]

        stuck.set()
        reconciler.submissions.wait([queued.attempt_token], 300)
        assert act(reconciler) == {queued.run_id: (ResultKind.SUBMITTED, f"submitted as {job(queued)}")}
        assert state(queued) == ("submitted", "")
        assert [action for action, _ in act(reconciler).values()] == [ResultKind.NOTED]

    def test_a_retried_run_with_a_stuck_submission_is_recorded_later(self, subject, cluster, reconciler, stuck):
        spec = at_work(subject, cluster)
        cluster.terminate(spec, reason=Reason.EVICTED)

        ((action, detail),) = act(reconciler).values()

        assert action is ResultKind.RETRIED
        assert detail == "it ended; attempt 2 with lstm, lgbm_tfidf: its submission has no answer yet"
        following = RunSpec.model_validate(TrainingRun.objects.get().spec)
        stuck.set()
        reconciler.submissions.wait([following.attempt_token], 300)
        act(reconciler)
        assert TrainingRun.objects.values_list("attempt", "state", "external_name").get() == (2, "submitted", job(following))

    def test_ends_come_before_terminations(self, subject, cluster, reconciler, monkeypatch):
        calls = []
        stalled, killed = at_work(subject, cluster, 1), at_work(subject, cluster, 2)
        ago(stalled, progress_at=1801)
        cluster.terminate(killed, reason=Reason.KILLED)
        cluster.on_cancel = lambda handle: calls.append("terminate")
        monkeypatch.setattr(cluster, "log_tail", lambda spec: calls.append("end") or "")

        act(reconciler, 60)

        assert calls == ["end", "terminate", "end"]
        assert [state(spec) for spec in (stalled, killed)] == [("failed", "stalled"), ("failed", "killed")]

    def test_a_cancelled_run_is_not_sent_to_the_back_end(self, subject, cluster, tmp_path, stuck):
        reconciler = Reconciler(runner_for=cluster, models_dir=tmp_path, stale_after=900)
        reconciler.__dict__["submissions"] = Submissions(threads=1)
        first, second = opened(subject, 0), opened(subject, 1)
        act(reconciler)

        reconciler.cancel(TrainingRun.objects.get(pk=second.run_id), by="me")
        act(reconciler)
        stuck.set()
        reconciler.submissions.wait([first.attempt_token], 300)
        act(reconciler, 60)

        assert cluster.submitted == [job(first)]
        assert state(second) == ("cancelled", "cancelled")

    def test_a_late_refusal_ends_no_run_that_another_process_submitted(self, subject, cluster, reconciler, monkeypatch):
        queued, answer = opened(subject), threading.Event()

        def refuse(rendered: object) -> RunHandle:
            answer.wait(300)
            raise SubmitError("quota exceeded: pods", reason=Reason.REFUSED)

        monkeypatch.setattr(cluster, "submit", refuse)
        act(reconciler)
        store.mark_submitted(queued, handle_of(queued))
        begin(queued)
        cluster.jobs[job(queued)] = WORKS
        answer.set()
        reconciler.submissions.wait([queued.attempt_token], 300)

        ((action, detail),) = act(reconciler).values()

        assert (action, detail) == (ResultKind.LEFT, "refused after another process submitted or ended it: quota exceeded: pods")
        assert state(queued) == ("running", "")

    def test_an_unexpected_error_of_a_submission_is_a_result(self, subject, cluster, reconciler):
        queued = opened(subject)
        cluster.refuses = KeyError("metadata")

        assert act(reconciler, 60) == {queued.run_id: (ResultKind.ERROR, "KeyError: 'metadata'")}
        cluster.refuses = None
        assert act(reconciler, 60)[queued.run_id][0] is ResultKind.SUBMITTED

    def test_a_runner_with_an_unexpected_error_leaves_the_runs_of_others(self, subject, cluster, tmp_path):
        broken, killed = at_work(subject, cluster, 0), at_work(subject, cluster, 1)
        TrainingRun.objects.filter(pk=broken.run_id).update(runner="another")
        cluster.terminate(killed, reason=Reason.KILLED)

        class Broken(PretendCluster):
            def observe(self, handles):
                raise KeyError("items")

        runners = {"another": Broken(), "pretend": cluster}
        results = act(Reconciler(runner_for=runners.__getitem__, models_dir=tmp_path, stale_after=900))

        assert results == {broken.run_id: (ResultKind.ERROR, "KeyError: 'items'"), killed.run_id: (ResultKind.CLOSED, "it ended")}

    def test_once_waits_longer_for_its_submissions(self, subject, monkeypatch):
        asked = []
        monkeypatch.setattr(Reconciler, "reconcile_once", lambda self, **options: asked.append(options) or iter(()))

        call_command("reconcile_runs", "--once")

        assert asked == [{"submission_seconds": 120.0}]


class TestStaleObservations:
    """In each test the run changes after the first observation, as it does while a reconciler is stopped or slow."""

    def test_a_run_that_began_meanwhile_is_not_terminated_for_its_image(self, subject, cluster, reconciler):
        """A run that had trained for 5 minutes was ended as image_pull before."""
        spec = submitted(subject, cluster)
        cluster.jobs[job(spec)] = IMAGE_PULL

        def work() -> None:
            begin(spec)
            cluster.jobs[job(spec)] = WORKS

        cluster.steps = [lambda: None, work]

        assert act(reconciler)[spec.run_id] == (ResultKind.LEFT, "its state changed meanwhile: its pod runs")
        assert (cluster.cancelled, state(spec)) == ([], ("running", ""))

    def test_a_run_that_begins_after_the_second_observation_is_not_terminated(self, subject, cluster, reconciler):
        spec = submitted(subject, cluster)
        cluster.jobs[job(spec)] = IMAGE_PULL
        cluster.steps = [lambda: None, lambda: begin(spec)]

        assert act(reconciler)[spec.run_id] == (ResultKind.LEFT, "its state changed meanwhile; it is not terminated")
        assert (cluster.cancelled, state(spec)) == ([], ("running", ""))

    def test_a_run_that_made_progress_is_not_stalled(self, subject, cluster, reconciler):
        spec = at_work(subject, cluster)
        ago(spec, progress_at=1801)
        cluster.steps = [lambda: None, lambda: ago(spec, progress_at=0)]

        assert act(reconciler)[spec.run_id] == (ResultKind.LEFT, "its state changed meanwhile; it is not terminated")
        assert (cluster.cancelled, state(spec)) == ([], ("running", ""))

    def test_a_run_that_was_cut_off_and_returns_is_not_stalled(self, subject, cluster, reconciler):
        spec = at_work(subject, cluster)
        ago(spec, heartbeat_at=3601, progress_at=3602)
        cluster.steps = [lambda: None, lambda: store.heartbeat([spec], idle=5.0)]

        assert act(reconciler)[spec.run_id] == (ResultKind.LEFT, "its state changed meanwhile; it is not terminated")
        assert (cluster.cancelled, state(spec)) == ([], ("running", ""))

    def test_a_heartbeat_of_a_stage_that_hangs_does_not_delay_its_end(self, subject, cluster, reconciler):
        spec = at_work(subject, cluster)
        ago(spec, progress_at=1801)
        cluster.steps = [lambda: None, lambda: store.heartbeat([spec], idle=1800.9)]

        act(reconciler)

        assert (cluster.cancelled, state(spec)) == ([job(spec)], ("failed", "stalled"))

    def test_a_run_that_was_resumed_meanwhile_is_left_alone(self, subject, cluster, reconciler):
        spec = at_work(subject, cluster)
        ago(spec, progress_at=1801)

        def resume() -> None:
            store.retry(spec, Diagnosis(summary="evicted", reason=Reason.EVICTED), handle=HERE, counts=True)

        cluster.steps = [resume]

        assert act(reconciler)[spec.run_id][1] == "another process just ended or retried the run"
        assert (cluster.cancelled, state(spec)) == ([], ("pending", ""))

    def test_an_operator_who_cancels_first_gives_the_reason(self, subject, cluster, reconciler):
        spec = at_work(subject, cluster)
        ago(spec, progress_at=1801)

        def cancel() -> None:
            store.announce_end(spec, Diagnosis(summary="cancelled by me", reason=Reason.CANCELLED), cancelled_by="me")

        cluster.steps = [lambda: None, cancel]

        act(reconciler)

        assert (cluster.cancelled, state(spec)) == ([job(spec)], ("cancelled", "cancelled"))

    @pytest.mark.parametrize("pass_of_return", [0, 1])
    def test_a_run_that_is_observed_again_is_not_missing(self, subject, cluster, reconciler, pass_of_return: int):
        spec = at_work(subject, cluster)
        ago(spec, missing_since=600)
        there = cluster.jobs.pop(job(spec))
        steps = [lambda: None, lambda: None]
        steps[pass_of_return] = lambda: cluster.jobs.update({job(spec): there})
        cluster.steps = steps

        act(reconciler)

        assert state(spec) == ("running", "")
        assert set(PredictionRunLog.objects.values_list("success", flat=True)) == {None}

    def test_a_run_that_wrote_a_heartbeat_is_not_lost(self, subject, cluster, reconciler):
        cluster.durable = False
        spec = at_work(subject, cluster)
        ago(spec, heartbeat_at=901)
        cluster.away = "the host is away"
        cluster.steps = [lambda: None, lambda: store.heartbeat([spec])]

        assert act(reconciler)[spec.run_id] == (ResultKind.LEFT, "its state changed meanwhile; the next pass decides again")
        assert state(spec) == ("running", "")

    def test_a_run_that_was_submitted_meanwhile_is_not_closed_as_not_started(self, subject, cluster, reconciler):
        cluster.durable = False
        spec = opened(subject)
        here = cluster.owner_handle()
        ended = here.model_copy(update={"uid": f"{here.uid}0"})
        TrainingRun.objects.update(host=ended.host, external_name=ended.name, external_uid=ended.uid)

        def submit() -> None:
            cluster.jobs[job(spec)] = WORKS
            store.mark_submitted(spec, handle_of(spec))

        cluster.steps = [lambda: None, submit]

        act(reconciler)

        assert state(spec) == ("submitted", "")
        assert RunEvent.objects.count() == 0

    def test_one_call_observes_all_candidates_again(self, subject, cluster, reconciler):
        for number in range(3):
            ago(at_work(subject, cluster, number), progress_at=1801)

        act(reconciler)

        # All runs, the candidates before their termination, and the same after it.
        assert cluster.looks == [3, 3, 3]


class TestThreads:
    def test_at_most_so_many_requests_wait_at_a_time(self, subject):
        answer, sent = threading.Event(), threading.Semaphore(0)

        def send() -> Submission:
            sent.release()
            answer.wait(300)
            return Submission(detail="done")

        submissions, specs = Submissions(threads=2), [planned(subject) for _ in range(5)]
        for spec in specs:
            assert submissions.add(Request(run=TrainingRun(), spec=spec, runner=PretendCluster(), send=send))
            assert not submissions.add(Request(run=TrainingRun(), spec=spec, runner=PretendCluster(), send=send))
        for _ in range(2):
            assert sent.acquire(timeout=300)
        assert len(submissions.unsent()) == 3
        # The interpreter does not wait for daemon threads at its exit.
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "submission"].count(False) == 0

        answer.set()
        for spec in specs:
            submissions.wait([spec.attempt_token], 300)
        assert {answered.request.token for answered in submissions.answers()} == {spec.attempt_token for spec in specs}
