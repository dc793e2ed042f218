"""Lines of a container's log, however they arrive."""

from datetime import UTC, datetime

from gregory.launch.container_logs import moment, split


def test_lines_are_whole_whatever_the_chunks_and_the_unfinished_one_is_left_out():
    assert list(split(iter([b"o", b"ne\ntw", b"o\n\xff\n", b"", b"unfinished"]))) == ["one", "two", "\ufffd"]


def test_nanoseconds_and_none():
    assert moment("2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert moment("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
