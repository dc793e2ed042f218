"""Trainings in progress: their processes, and the moment at which a test acts on them."""

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

from tools.installation import Installation

SUBJECT = ("--team", "neurology", "--subject", "migraine-prevention")
T = TypeVar("T")


def wait_for(find: Callable[[], T], *, seconds: float = 120) -> T:
    """The first true value of `find`, which is called every 0.1 s.

    Raises AssertionError when `seconds` have passed.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def processes(command: subprocess.Popen[str], *words: str) -> list[psutil.Process]:
    """The descendants of a command whose command line has these words."""
    found = []
    for process in psutil.Process(command.pid).children(recursive=True):
        try:
            if all(word in " ".join(process.cmdline()) for word in words):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def training(installation: Installation, command: subprocess.Popen[str], algorithm: str) -> psutil.Process:
    """The worker of an algorithm, when it is in its second epoch."""

    def find() -> psutil.Process | None:
        events = "".join(path.read_text() for path in installation.models.glob(".runs/*/events-*.jsonl"))
        workers = processes(command, "gregory.ml.stages", f"train-{algorithm}")
        return workers[0] if workers and "epoch 2/" in events else None

    return wait_for(find)
