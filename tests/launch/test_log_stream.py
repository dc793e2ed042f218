"""Lines of a log from chunks and broken streams: complete, once and in order."""

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from gregory.launch.errors import Unreachable
from gregory.launch.log_stream import Cursor, follow, split

SECOND = "2026-01-02T03:04:05"


def taken(cursor: Cursor, *lines: str) -> list[str]:
    return [text for line in lines if (text := cursor.take(line)) is not None]


def test_chunks_become_lines_and_only_an_unfinished_line_has_no_line_feed():
    assert list(split(iter([b"o", b"ne\ntw", b"o\n\xff\n", b"", b"unfinished"]))) == ["one\n", "two\n", "\ufffd\n", "unfinished"]


def test_lines_of_an_earlier_stream_are_dropped():
    cursor = Cursor()
    lines = [f"{SECOND}.1Z a", f"{SECOND}.2Z b", f"{SECOND}.2Z c"]
    taken(cursor, *lines)

    cursor.begin()

    assert taken(cursor, *lines, f"{SECOND}.3Z d") == ["d"]


def test_equal_lines_with_equal_time_stamps_are_counted():
    cursor = Cursor()
    assert taken(cursor, f"{SECOND}Z same", f"{SECOND}Z same") == ["same", "same"]

    cursor.begin()

    assert taken(cursor, f"{SECOND}Z same", f"{SECOND}Z same", f"{SECOND}Z same", f"{SECOND}.5Z next") == ["same", "next"]


def test_lines_of_a_clock_that_was_set_back_are_new():
    cursor, before = Cursor(), ["2026-01-02T03:04:05Z a", "2026-01-02T03:04:06Z b"]
    back = ["2026-01-02T02:04:05Z c", "2026-01-02T02:04:06+00:00 d"]

    assert taken(cursor, *before, back[0]) == ["a", "b", "c"]
    cursor.begin()
    assert taken(cursor, *before, *back) == ["d"]


def test_a_log_that_was_rotated_begins_with_a_later_line():
    cursor = Cursor()
    taken(cursor, f"{SECOND}.1Z a", f"{SECOND}.2Z b")

    cursor.begin()

    assert taken(cursor, f"{SECOND}.2Z b", f"{SECOND}.3Z c") == ["c"]


def test_only_the_latest_lines_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gregory.launch.log_stream._MOST_LINES", 2)
    cursor, lines = Cursor(), [f"{SECOND}.{number}Z {number}" for number in range(4)]
    taken(cursor, *lines)

    cursor.begin()

    assert taken(cursor, *lines[2:]) == []


def test_an_unfinished_last_line_comes_at_the_end():
    cursor = Cursor()
    streams = (f"{SECOND}.1Z on", f"{SECOND}.1Z one\n{SECOND}.2Z two", f"{SECOND}.1Z one\n{SECOND}.2Z two\n{SECOND}.3Z kill")

    seen = [list(follow(iter([text.encode()]), cursor, waiting=lambda: None)) for text in streams]

    assert seen == [[], ["one"], ["two"]]
    assert list(cursor.rest()) == ["kill"]


def test_a_server_message_without_time_stamp_is_dropped():
    assert taken(Cursor(), "unable to retrieve container logs", f"{SECOND}Z ") == [""]


def test_waiting_is_called_while_no_line_arrives():
    go, waited = threading.Event(), []

    def stream() -> Iterator[bytes]:
        go.wait(300)
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

    before = set(threading.enumerate())
    lines = follow(stream(), Cursor(), waiting=lambda: None)
    assert list(islice(lines, 2)) == ["again", "again"]
    (reader,) = set(threading.enumerate()) - before

    lines.close()

    reader.join(300)
    assert not reader.is_alive()


@pytest.mark.parametrize("size", [1, 7, 2**20])
def test_a_long_line_is_one_line(size: int):
    whole = b"x" * 3_000_000 + b"\n"

    assert [len(line) for line in split(whole[at : at + size * 1000] for at in range(0, len(whole), size * 1000))] == [3_000_001]
