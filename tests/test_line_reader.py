"""Items of a source that blocks: all of them, in order, with a call while none arrives."""

import threading
from collections.abc import Iterator

import pytest

from gregory.line_reader import read_in_thread


def test_every_item_arrives_in_order():
    assert list(read_in_thread(range(1000), poll_seconds=5, on_idle=lambda: None, ahead=3)) == list(range(1000))


def test_the_caller_acts_while_nothing_arrives():
    go, idle = threading.Event(), []

    def source() -> Iterator[str]:
        go.wait(300)
        yield "late"

    assert list(read_in_thread(source(), poll_seconds=0.01, on_idle=lambda: idle.append(1) or go.set(), ahead=3)) == ["late"]
    assert idle


def test_an_error_of_the_source_is_raised_after_the_items_before_it():
    def source() -> Iterator[int]:
        yield 1
        raise OSError("broken")

    items = read_in_thread(source(), poll_seconds=5, on_idle=lambda: None, ahead=3)

    assert next(items) == 1
    with pytest.raises(OSError, match=r"^broken$"):
        next(items)
