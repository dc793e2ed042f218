"""A command whose runner executes several runs at once."""

from collections.abc import Callable, Iterator

import pytest

from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunHandle, RunSpec
from tests.commands.command_line import InstantRunner, Shell, rows

pytestmark = [pytest.mark.django_db, pytest.mark.database]
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
