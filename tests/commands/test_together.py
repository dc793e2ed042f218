"""A command whose runner executes several runs at once."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence

import pytest

from gregory.launch.local.diagnose import ended_process
from gregory.launch.runner import Observation, Status
from gregory.models import PredictionRunLog
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunHandle, RunSpec
from tests.commands.command_line import MS, InstantRunner, Shell, rows

pytestmark = [pytest.mark.django_db, pytest.mark.database]
KILLED = "the run's process was killed by signal 15 (SIGTERM)"
# In the order of their submission.
SUBJECTS = ("als", "ms", "lung")


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two runs at once: the subjects in the order in which their logs were asked for a line. Each log has a pause before its lines."""
    asked: list[str] = []

    def lines(runner: InstantRunner, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str | None]:
        asked.append(spec.subject.slug)
        assert waiting()
        yield None
        asked.append(spec.subject.slug)
        yield from runner.logs(spec, handle, waiting=waiting)

    monkeypatch.setattr(InstantRunner, "max_parallel", 2)
    monkeypatch.setattr(InstantRunner, "lines", lines, raising=False)
    return asked


def test_two_runs_are_followed_at_once_and_the_third_after_them(run: Shell, feed: None, followed: list[str]):
    done = run("--all-teams", "--algo", "lgbm_tfidf", "--runner", "instant")

    assert (done.code, done.err) == (0, "")
    assert followed == ["als", "ms", "als", "ms", "lung", "lung"]
    assert [row[0] for row in rows() if row[3]] == list(SUBJECTS)


def test_an_error_of_one_run_ends_the_command(run: Shell, feed: None, followed: list[str], monkeypatch: pytest.MonkeyPatch):
    logs = InstantRunner.logs

    def broken(runner: InstantRunner, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        if spec.subject.slug == "ms":
            raise OSError("the log is on a broken disk")
        return logs(runner, spec, handle, waiting=waiting)

    monkeypatch.setattr(InstantRunner, "logs", broken)
    done = run("--all-teams", "--algo", "lgbm_tfidf", "--runner", "instant")

    assert done.code == 1
    assert "the log is on a broken disk" in done.err
    states = dict(TrainingRun.objects.values_list("subject__subject_slug", "state"))
    assert states == {"als": "succeeded", "ms": "failed", "lung": "failed"}


@pytest.mark.parametrize(
    ("alive", "end"),
    [
        (True, ("interrupted", f"interrupted by signal 15 (SIGTERM), with its command; {KILLED}")),
        (False, ("killed", KILLED)),
    ],
)
def test_a_run_that_the_command_ended_before_it_handles_signals_was_interrupted(
    run: Shell, feed: None, monkeypatch: pytest.MonkeyPatch, alive: bool, end: tuple[str, str]
):
    """The same end of a run that had ended before has an unknown sender."""
    living = [alive]

    def signalled(runner: InstantRunner, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield from ()

    def observe(runner: InstantRunner, handles: Sequence[RunHandle]) -> list[Observation]:
        found = Observation(status=Status.ALIVE) if living[0] else Observation(status=Status.TERMINATED, diagnosis=ended_process(-15, ""))
        return [found for _ in handles]

    monkeypatch.setattr(InstantRunner, "logs", signalled)
    monkeypatch.setattr(InstantRunner, "observe", observe)
    monkeypatch.setattr(InstantRunner, "cancel", lambda runner, handle, *, grace_seconds: living.__setitem__(0, False), raising=False)
    done = run(*MS, "--algo", "lgbm_tfidf", "--runner", "instant")

    assert done.code == 143
    assert TrainingRun.objects.values_list("state", "reason", "detail", "exit_code").get() == ("failed", *end, -15)
    assert PredictionRunLog.objects.get().error_message == end[1]
