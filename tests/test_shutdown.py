"""Requests that a long process ends."""

import signal
import threading
import time

from gregory.shutdown import POLL_SECONDS, ShutdownRequest


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


def test_a_request_ends_a_pause_early():
    shutdown = ShutdownRequest()
    began = time.monotonic()
    threading.Timer(0.1, shutdown.request, args=["now"]).start()

    shutdown.wait(60)

    assert 0.1 <= time.monotonic() - began < 0.1 + 10 * POLL_SECONDS
