"""Times in a container's log."""

from datetime import UTC, datetime

from gregory.launch.docker.logs import parse_time


def test_nanoseconds_and_none():
    assert parse_time("2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert parse_time("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
