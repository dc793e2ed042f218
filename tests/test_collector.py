"""The garbage collector during imports and at the end of a process."""

import gc
import subprocess
import sys

import pytest

from gregory.collector import without_collector

# A cycle whose object says when the collector has visited it, and an exit function.
PROGRAM = """
import atexit, os
from gregory.collector import skip_at_exit

class Cycle:
    def __init__(self):
        self.itself = self

    def __del__(self):
        os.write(1, b"collected ")

atexit.register(lambda: os.write(1, b"left "))
kept = [Cycle()]
kept.clear()
"""


@pytest.mark.parametrize(("last", "said"), [("skip_at_exit()", b"left "), ("", b"left collected ")])
def test_the_collector_visits_nothing_at_the_end_of_a_process(last: str, said: bytes) -> None:
    done = subprocess.run([sys.executable, "-c", f"import gc; gc.disable()\n{PROGRAM}gc.enable()\n{last}"], capture_output=True, check=True)

    assert done.stdout == said


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_in_the_block_and_then_as_before(enabled: bool) -> None:
    try:
        if not enabled:
            gc.disable()
        with without_collector():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
