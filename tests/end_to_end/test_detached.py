"""A training that its terminal leaves: `nohup`, a full device in place of the log, a worker thread of a process that goes on."""

import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from tests.end_to_end.trainings import SUBJECT, wait_for
from tools.installation import REPOSITORY, Installation

# As in a task queue: the main thread waits, and a worker thread calls the command.
LONG_LIVED = """
import os, sys, threading, time
import django
django.setup()
from django.core.management import call_command
threading.Thread(target=call_command, args=["train_models", *sys.argv[2:]], daemon=True).start()
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
time.sleep(3600)
"""


@pytest.mark.slow
def test_a_training_goes_on_after_its_terminal_is_closed_and_its_log_is_full(demo_installation: Installation, tmp_path: Path):
    # It trains long enough for the terminal to be closed before its end.
    demo_installation.set_hyperparameters("lgbm: {rounds: 3000}\n")
    program, pid_file = tmp_path / "long_lived.py", tmp_path / "pid"
    program.write_text(LONG_LIVED)
    shell, terminal = pty.fork()
    if shell == 0:
        os.chdir(REPOSITORY)
        os.execvpe("bash", ["bash", "--norc", "-i"], {**demo_installation.environment, "PYTHONUNBUFFERED": "1"})
    arguments = " ".join(map(str, (sys.executable, program, pid_file, *SUBJECT, "--algo", "lgbm_tfidf", "--verbose", "3")))
    # With its standard error on a full device, nohup itself refuses to start.
    os.write(terminal, f"nohup {arguments} > /dev/full 2> {tmp_path / 'errors'} &\n".encode())
    worker = int(wait_for(lambda: pid_file.exists() and pid_file.read_text()))
    try:
        wait_for(lambda: any(row["state"] == "running" for row in demo_installation.rows()))

        os.close(terminal)
        _, status = os.waitpid(shell, 0)
        wait_for(lambda: all(row["state"] != "running" for row in demo_installation.rows()), seconds=900)

        os.kill(worker, 0)
    finally:
        os.kill(worker, signal.SIGKILL)

    # The terminal ended its shell, which passes SIGHUP on to its jobs.
    assert os.waitstatus_to_exitcode(status) == -signal.SIGHUP
    (row,) = demo_installation.rows()
    assert (row["success"], row["state"], row["error"]) == (True, "succeeded", None), (tmp_path / "errors").read_text()
