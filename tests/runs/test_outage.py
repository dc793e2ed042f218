"""Outages of the database that a process notices."""

import math

import pytest

from gregory.runs import outage
from gregory.runs.outage import Outages


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the monotonic clock, in the only item."""
    now = [1000.0]
    monkeypatch.setattr(outage.time, "monotonic", lambda: now[0])
    return now


def test_a_process_without_an_outage_knows_none():
    assert Outages().seconds_since() == math.inf


def test_a_read_that_fails_is_an_outage(clock):
    outages = Outages()

    with pytest.raises(OSError, match="gone"), outages.watching():
        raise OSError("gone")

    clock[0] += 7
    assert outages.seconds_since() == 7


@pytest.mark.parametrize(("seconds", "noticed"), [(1, False), (outage.SLOW_SECONDS + 1, True)])
def test_a_slow_read_is_an_outage(clock, seconds: float, noticed: bool):
    outages = Outages()

    with outages.watching():
        clock[0] += seconds

    assert (outages.seconds_since() == 0) is noticed
