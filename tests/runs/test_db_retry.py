"""Calls while the database cannot be reached."""

from collections.abc import Callable

import pytest
from django.db import InterfaceError, OperationalError, connection

from gregory.runs import db_retry
from gregory.runs.db_retry import best_effort, read_only_transaction, retry_on_disconnect
from gregory.runs.outage import Outages


class Away:
    """Fails a number of times, then answers."""

    def __init__(self, failures: int, error: type[Exception] = OperationalError) -> None:
        self.failures, self.calls, self._error = failures, 0, error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self._error("connection refused")
        return "answer"


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_retry.connection, "close", lambda: None)


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_call_is_repeated_with_growing_pauses(error: type[Exception]):
    pauses: list[float] = []

    assert retry_on_disconnect(Away(3, error), sleep=pauses.append) == "answer"

    assert pauses == list(db_retry.PAUSES[:3])


def test_the_last_error_is_raised_after_all_pauses():
    call = Away(99)

    with pytest.raises(OperationalError):
        retry_on_disconnect(call, sleep=lambda seconds: None)

    assert call.calls == len(db_retry.PAUSES) + 1


def test_an_impatient_caller_gets_one_more_call():
    call = Away(99)

    with pytest.raises(OperationalError):
        retry_on_disconnect(call, sleep=lambda seconds: pytest.fail("no pause"), patient=lambda: False)

    assert call.calls == 2


@pytest.mark.parametrize(
    "fail",
    [
        lambda: retry_on_disconnect(Away(1), sleep=lambda seconds: None),
        lambda: best_effort(Away(1), otherwise=""),
    ],
    ids=["retried", "dropped"],
)
def test_a_call_that_fails_is_an_outage(monkeypatch: pytest.MonkeyPatch, fail: Callable[[], str]):
    monkeypatch.setattr(db_retry, "OUTAGES", Outages())

    fail()

    assert db_retry.OUTAGES.seconds_since() < 60


def test_best_effort_calls_once():
    call = Away(1)

    assert best_effort(call, otherwise="nothing") == "nothing"
    assert call.calls == 1


@pytest.mark.django_db
@pytest.mark.database
def test_a_connection_that_is_lost_at_the_close_of_a_streamed_read_is_an_error_of_django():
    # Django calls the driver's close() of a cursor in the server without a translation of its errors.
    with pytest.raises(OperationalError, match="connection is lost"), read_only_transaction():
        raise connection.Database.OperationalError("the connection is lost")
