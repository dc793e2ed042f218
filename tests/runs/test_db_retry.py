"""Calls while the database is away: tried again, for as long as there is time."""

import pytest
from django.db import InterfaceError, OperationalError

from gregory.runs import db_retry
from gregory.runs.db_retry import best_effort, retry_on_disconnect


class Away:
    """Fails so often, then answers."""

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
def test_it_is_called_until_it_answers_with_longer_and_longer_pauses(error: type[Exception]):
    pauses: list[float] = []

    assert retry_on_disconnect(Away(3, error), sleep=pauses.append) == "answer"

    assert pauses == list(db_retry.PAUSES[:3])


def test_after_minutes_the_error_passes_through():
    call = Away(99)

    with pytest.raises(OperationalError):
        retry_on_disconnect(call, sleep=lambda seconds: None)

    assert call.calls == len(db_retry.PAUSES) + 1


def test_where_there_is_no_time_it_is_tried_once_more():
    call = Away(99)

    with pytest.raises(OperationalError):
        retry_on_disconnect(call, sleep=lambda seconds: pytest.fail("no pause"), patient=lambda: False)

    assert call.calls == 2


def test_what_only_informs_is_tried_once():
    call = Away(1)

    assert best_effort(call, otherwise="nothing") == "nothing"
    assert call.calls == 1
