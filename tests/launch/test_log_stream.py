"""Lines of a log from chunks and broken streams: complete, once and in order."""

import threading
import time
from collections.abc import Iterator
from itertools import islice

import pytest

from gregory.launch.errors import Unreachable
from gregory.launch.log_stream import Cursor, follow, split

SECOND = "2026-01-02T03:04:05"


def taken(cursor: Cursor, *lines: str) -> list[str]:
    return [text for line in lines if (text := cursor.take(line)) is not None]


def test_chunks_become_complete_lines_and_an_unfinished_line_is_dropped():
    assert list(split(iter([b"o", b"ne\ntw", b"o\n\xff\n", b"", b"unfinished"]))) == ["one", "two", "\ufffd"]


def test_a_new_stream_begins_with_the_last_second():
    cursor = Cursor()
    assert cursor.begin() == ""

    assert taken(cursor, f"{SECOND}.123456789Z one", f"{SECOND}.2Z two words") == ["one", "two words"]

    assert cursor.begin() == f"{SECOND}Z"


def test_lines_of_an_earlier_stream_are_dropped():
    cursor = Cursor()
    lines = [f"{SECOND}.1Z a", f"{SECOND}.2Z b", f"{SECOND}.2Z c"]
    taken(cursor, *lines)

    cursor.begin()

    assert taken(cursor, *lines, f"{SECOND}.3Z d") == ["d"]


def test_lines_with_equal_time_stamps_are_counted():
    cursor = Cursor()
    assert taken(cursor, f"{SECOND}Z same", f"{SECOND}Z same") == ["same", "same"]

    cursor.begin()

    assert taken(cursor, f"{SECOND}Z same", f"{SECOND}Z same", f"{SECOND}Z same", f"{SECOND}.5Z next") == ["same", "next"]


def test_time_stamps_of_other_zones_are_compared():
    cursor = Cursor()

    assert taken(cursor, "2026-01-02T04:04:05.5+01:00 one", f"{SECOND}.4Z earlier", f"{SECOND}.6Z two") == ["one", "two"]


def test_a_server_message_without_time_stamp_is_dropped():
    assert taken(Cursor(), "unable to retrieve container logs", f"{SECOND}Z ") == [""]


def test_waiting_is_called_while_no_line_arrives():
    go, waited = threading.Event(), []

    def stream() -> Iterator[bytes]:
        go.wait(10)
        yield f"{SECOND}Z late\n".encode()

    lines = follow(stream(), Cursor(), waiting=lambda: waited.append(1) or go.set())

    assert list(lines) == ["late"]
    assert waited


def test_a_broken_stream_ends_without_an_error():
    def stream() -> Iterator[bytes]:
        yield f"{SECOND}Z one\n".encode()
        raise Unreachable("gone")

    assert list(follow(stream(), Cursor(), waiting=lambda: None)) == ["one"]


def test_the_reader_thread_ends_with_its_iterator():
    def stream() -> Iterator[bytes]:
        while True:
            yield f"{SECOND}Z again\n".encode()

    before = threading.active_count()
    lines = follow(stream(), Cursor(), waiting=lambda: None)
    assert list(islice(lines, 2)) == ["again", "again"]

    lines.close()

    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() == before


@pytest.mark.parametrize("size", [1, 7, 2**20])
def test_a_long_line_is_one_line(size: int):
    whole = b"x" * 3_000_000 + b"\n"

    assert [len(line) for line in split(whole[at : at + size * 1000] for at in range(0, len(whole), size * 1000))] == [3_000_000]
