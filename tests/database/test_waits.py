"""The limits of waits, with a server that accepts a connection and never answers."""

import socket
import time
from collections.abc import Iterator

import psycopg
import pytest

from gregory.database import waits
from gregory.database.postgresql.base import not_now
from gregory.database.postgresql.session import NoAnswer, Session, bounded
from gregory.database.waits import Patience


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time in seconds."""
    now = [100.0]
    monkeypatch.setattr(waits.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_silence_is_counted_from_the_last_message(clock: list[float]):
    patience = Patience(40.0)
    clock[0] += 39
    patience.hear()
    clock[0] += 39
    assert patience.exhausted == ""
    clock[0] += 1
    assert patience.exhausted == "no answer for 40 s"


def test_messages_do_not_extend_the_wait_of_a_process_that_ends(clock: list[float]):
    patience = Patience()
    with waits.shortened_by(lambda: clock[0] >= 200):
        clock[0] = 200
        assert patience.exhausted == ""
        for _ in range(3):
            clock[0] += 1
            patience.hear()
        assert patience.exhausted == "no answer within 3 s after the end of this process was requested"
    assert not waits.ending()


def test_a_pause_ends_with_the_process():
    began = time.monotonic()
    with waits.shortened_by(lambda: time.monotonic() - began > 0.2):
        waits.pause(600)

    assert time.monotonic() - began < 300


def test_the_answer_of_the_steps_is_passed_on():
    def steps() -> Iterator[str]:
        ready = yield "read"
        return f"ready {ready}"

    under_test = bounded(steps(), Patience(40.0))
    assert next(under_test) == "read"
    with pytest.raises(StopIteration) as end:
        under_test.send(1)
    assert end.value.value == "ready 1"


def test_a_connection_without_an_answer_ends_with_the_process(silent_port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(waits, "ENDING_SECONDS", 0.5)
    began = time.monotonic()

    with waits.shortened_by(lambda: True), pytest.raises(NoAnswer):
        Session.connect(host="127.0.0.1", port=silent_port, connect_timeout=600)

    assert time.monotonic() - began < 300


@pytest.mark.parametrize(
    "code", ["25006", "25P03", "25P04", "57P01", "57P02", "57P03", "57014", "08006", "08P01", "53300", "55P03", "40001", "40P01"]
)
def test_states_of_the_server_mean_not_now(code: str):
    assert not_now(psycopg.errors.lookup(code)("a state"))


@pytest.mark.parametrize("code", ["42501", "42P01", "42703", "23505", "23503", "22001", "25001", "25P02", "0A000", "XX000"])
def test_errors_of_the_program_do_not(code: str):
    # The class has its code, as the error of a server.
    assert not not_now(psycopg.errors.lookup(code)("an error"))
