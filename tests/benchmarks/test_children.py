"""After a signal, a benchmark leaves neither a process nor a temporary folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tools.installation import REPOSITORY

# A benchmark that starts a benchmark that starts a command, which needs a second to end.
PROGRAM = """
import subprocess, sys, tempfile
from benchmarks import children

COMMAND = '''
import os, signal, sys, time
from pathlib import Path

def end(*_):
    time.sleep(1)
    Path(sys.argv[1], "ended").touch()
    sys.exit()

signal.signal(signal.SIGTERM, end)
Path(sys.argv[2]).write_text(str(os.getpid()))
time.sleep(600)
'''


def main():
    with tempfile.TemporaryDirectory() as folder:
        outer = [sys.executable, __file__, "inner", sys.argv[2]]
        inner = [sys.executable, "-c", COMMAND, folder, sys.argv[2]]
        with children.started(outer if sys.argv[1] == "outer" else inner, stdout=subprocess.PIPE) as process:
            process.communicate()


children.execute(main)
"""


@pytest.mark.parametrize(
    ("number", "send", "told"),
    [
        (signal.SIGINT, os.killpg, "stopped: interrupted by signal 2 (SIGINT)\n"),
        (signal.SIGTERM, os.kill, "stopped: interrupted by signal 15 (SIGTERM)\n"),
    ],
    ids=["ctrl-c", "sigterm"],
)
def test_a_signal_ends_all_processes_before_their_folders_are_removed(tmp_path: Path, number: int, send, told: str):
    (tmp_path / "program.py").write_text(PROGRAM)
    (temporary := tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", "outer", tmp_path / "pid"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    until = time.monotonic() + 120
    while not (pid := (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else ""):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)

    send(process.pid, number)
    output, errors = process.communicate(timeout=120)

    assert (process.returncode, output, errors) == (128 + number, told, "")
    assert not psutil.pid_exists(int(pid))
    assert list(temporary.iterdir()) == []
