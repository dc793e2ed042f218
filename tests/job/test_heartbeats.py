"""The thread that writes heartbeats, and the idle time that it writes."""

import threading
import time

import pytest

from job import heartbeats
from job.heartbeats import STOPPED_SECONDS, IdleTime, RepeatedCall


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_idle_time_counts_from_the_last_new_message(clock):
    idle = IdleTime(clock)
    for _ in range(100):
        clock.now += 15
        idle.seconds()
    assert idle.seconds() == 1500

    idle.restart()

    clock.now += 7
    assert idle.seconds() == 7


def test_the_time_in_which_the_whole_run_was_stopped_is_not_idle(clock):
    idle = IdleTime(clock)
    clock.now += 10
    assert idle.seconds() == 10

    clock.now += STOPPED_SECONDS + 3600

    assert idle.seconds() == 10


def test_calls_repeat_until_the_end():
    calls, third = [], threading.Event()

    def call() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            third.set()

    repeated = RepeatedCall(call, seconds=0.01, after=None)
    assert third.wait(300)
    repeated.close()

    made = len(calls)
    time.sleep(0.1)
    assert len(calls) == made


def test_the_end_does_not_wait_for_a_call_that_hangs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(heartbeats, "CLOSE_SECONDS", 0.1)
    begun, released = threading.Event(), threading.Event()
    first = RepeatedCall(lambda: (begun.set(), released.wait(600)), seconds=60, after=None)
    assert begun.wait(300)

    first.close()

    assert not released.is_set()
    # The next stage waits for it with its own writes, and also ends at once.
    called = threading.Event()
    second = RepeatedCall(called.set, seconds=60, after=first)
    assert not called.wait(0.2)
    released.set()
    assert called.wait(300)
    second.close()


def test_an_error_ends_no_heartbeats(capsys: pytest.CaptureFixture[str]):
    calls, third = [], threading.Event()

    def fail() -> None:
        calls.append(1)
        if len(calls) == 3:
            third.set()
        raise ValueError("a defect")

    repeated = RepeatedCall(fail, seconds=0.01, after=None)
    assert third.wait(300)
    repeated.close()

    assert capsys.readouterr().err == "heartbeat: ValueError: a defect\n"
