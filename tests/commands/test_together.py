"""A command whose runner executes several runs at once follows them in threads."""

import threading
from collections.abc import Callable, Iterator

import pytest

from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunHandle, RunSpec
from tests.commands.command_line import InstantRunner, Shell, rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
Logs = Callable[..., Iterator[str]]


@pytest.fixture
def in_logs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[RunSpec], object]], None]:
    """Call a function at the beginning of the log of each of two runs at once."""
    logs: Logs = InstantRunner.logs

    def install(call: Callable[[RunSpec], object]) -> None:
        def followed(runner: InstantRunner, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
            call(spec)
            return logs(runner, spec, handle, waiting=waiting)

        monkeypatch.setattr(InstantRunner, "max_parallel", 2)
        monkeypatch.setattr(InstantRunner, "logs", followed)

    return install


def test_two_runs_are_followed_at_once_and_the_third_after_one_of_them(run: Shell, feed: None, in_logs: Callable[..., None]):
    both, ended_before = threading.Barrier(2), []

    def meet(spec: RunSpec) -> None:
        ended_before.append(TrainingRun.objects.filter(state="succeeded").count())
        if len(ended_before) <= 2:
            both.wait(60)

    in_logs(meet)
    done = run("--all-teams", "--algo", "lgbm_tfidf", "--runner", "instant")

    assert (done.code, done.err, ended_before[:2]) == (0, "", [0, 0])
    assert ended_before[2] >= 1
    assert [row[3] for row in rows()] == [True] * 3


def test_an_error_of_one_run_ends_the_command_after_the_others_at_work(run: Shell, feed: None, in_logs: Callable[..., None]):
    both, failing = threading.Barrier(2), []

    def fail(spec: RunSpec) -> None:
        if spec.subject.slug == "ms":
            failing.append(threading.current_thread())
        both.wait(60)
        if spec.subject.slug == "ms":
            raise OSError("the log is on a broken disk")
        failing[0].join()

    in_logs(fail)
    done = run("--all-teams", "--algo", "lgbm_tfidf", "--runner", "instant")

    assert done.code == 1
    assert "the log is on a broken disk" in done.err
    states = dict(TrainingRun.objects.values_list("subject__subject_slug", "state"))
    assert states == {"als": "succeeded", "ms": "failed", "lung": "failed"}
