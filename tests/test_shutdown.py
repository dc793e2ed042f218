"""Requests that a long process ends."""

import signal
import threading
import time

import pytest

from gregory.shutdown import ShutdownRequest


def test_the_first_reason_stays():
    shutdown = ShutdownRequest()
    shutdown.request("first")
    shutdown.request("second")

    assert (shutdown.requested, shutdown.reason) == (True, "first")


def test_a_signal_is_a_request_and_raises_nothing():
    before = signal.getsignal(signal.SIGTERM)
    shutdown = ShutdownRequest()
    try:
        shutdown.listen([signal.SIGTERM])
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert shutdown.reason == "interrupted by signal 15 (SIGTERM)"


@pytest.mark.parametrize(("always", "reason"), [((), ""), ((signal.SIGHUP,), "interrupted by signal 1 (SIGHUP)")])
def test_an_ignored_signal_is_no_request_unless_it_always_is(always: tuple[int, ...], reason: str):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    shutdown = ShutdownRequest()
    try:
        shutdown.listen([signal.SIGHUP], always=always)
        signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)

    assert shutdown.reason == reason


def test_another_thread_than_the_main_one_takes_no_signal():
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=ShutdownRequest().listen, args=[[signal.SIGTERM]])
    thread.start()
    thread.join()

    # An exception of the thread would be an error of this test.
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_request_ends_a_pause_early():
    shutdown = ShutdownRequest()
    began = time.monotonic()
    threading.Timer(0.1, shutdown.request, args=["now"]).start()

    shutdown.wait(600)

    assert 0.1 <= time.monotonic() - began < 300
