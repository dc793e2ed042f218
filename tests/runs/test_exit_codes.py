"""The signal that an exit code contains."""

import signal

import pytest

from gregory.runs import exit_codes


@pytest.mark.parametrize(
    ("code", "found"),
    [(0, None), (1, None), (2, None), (128, None), (137, signal.SIGKILL), (143, signal.SIGTERM), (-9, signal.SIGKILL), (255, None)],
)
def test_the_signal_of_an_exit_code(code: int, found: signal.Signals | None):
    assert exit_codes.signal_of(code) == found


@pytest.mark.parametrize("number", list(signal.Signals))
def test_the_exit_code_of_a_signal_gives_the_signal_back(number: signal.Signals):
    assert exit_codes.signal_of(exit_codes.of_signal(number)) is number


def test_named_codes_are_integers_as_kubernetes_counts_them():
    assert (exit_codes.SIGKILL, exit_codes.SIGTERM) == (137, 143)
