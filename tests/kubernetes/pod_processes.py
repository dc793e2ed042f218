"""Processes of runs in pods, as this machine sees them: found by the run's id, stopped, continued, killed."""

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from tools.cluster import cgroups

# A stage needs more time to load its libraries.
POLL_SECONDS = 0.1
# Number of polls of a new process. At first it has the command line of its parent.
POLLS = 30
# The folder of a stage of any attempt.
_FOLDER = r"/{}/stages(?:-\d+)?/{}"
_RUN = "([0-9a-f]{12})"


def of_run(run_id: str) -> list[int]:
    """Every process of its pods, the first process of each container first."""
    return sorted(pid for pid in cgroups.members() if run_id in _read(pid, "environ") or run_id in _read(pid, "cmdline"))


def send(run_id: str, number: int) -> None:
    """Send a signal to every process of the run."""
    for pid in of_run(run_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Held:
    """Runs whose training is stopped: each worker of a held run gets SIGSTOP as soon as it exists."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        self._stopped: dict[int, str] = {}
        self._anew = False
        self._all: re.Pattern[str] | None = None
        self._stopped_with_all: set[str] = set()
        self._let_go: set[str] = set()
        self._over = threading.Event()

    def hold(self, run_id: str, *, stage: str = "train-") -> None:
        """stage: prefix of the stages to stop."""
        self._stopped_with_all.discard(run_id)
        self._let_go.discard(run_id)
        self._held[run_id] = stage
        self._anew = True

    @contextlib.contextmanager
    def all(self, *, stage: str = "train-") -> Iterator[None]:
        """Hold every run in this block that reaches the stages with this prefix and was not let go.

        After it, the runs that are not held by their ids continue. The command that submits a run may return after its training.
        """
        self._all, self._anew = re.compile(_FOLDER.format(_RUN, stage)), True
        try:
            yield
        finally:
            self._all = None

    def holds(self, run_id: str) -> bool:
        """Whether a worker of the run is stopped."""
        return run_id in self._stopped.values()

    def worker(self, run_id: str) -> int:
        """Process id of the stopped worker."""
        return next(pid for pid, held in list(self._stopped.items()) if held == run_id)

    def let_go(self, run_id: str, *, on: bool = True) -> None:
        """Stop no later worker of the run.

        on: whether the stopped worker continues.
        """
        self._let_go.add(run_id)
        self._held.pop(run_id, None)
        for pid in [pid for pid, held in list(self._stopped.items()) if held == run_id]:
            del self._stopped[pid]
            if on:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def watch(self) -> None:
        polls: dict[int, int] = {}
        while not self._over.wait(POLL_SECONDS):
            if self._anew:
                self._anew, polls = False, {}
            everyone = self._all
            if everyone is None:
                while self._stopped_with_all:
                    run_id = self._stopped_with_all.pop()
                    if run_id not in self._held:
                        self.let_go(run_id)
            polls = {pid: polls.get(pid, 0) + 1 for pid in psutil.pids()}
            for pid in [pid for pid, times in polls.items() if times <= POLLS and pid not in self._stopped]:
                command = _read(pid, "cmdline")
                run_id = next(
                    (run_id for run_id, stage in list(self._held.items()) if re.search(_FOLDER.format(run_id, stage), command)), None
                )
                if run_id is None and everyone is not None and (found := everyone.search(command)) and found[1] not in self._let_go:
                    # Tests beside this one train outside of pods.
                    if f"/{cgroups.NAME}/" not in _read(pid, "cgroup"):
                        continue
                    run_id = found[1]
                    self._stopped_with_all.add(run_id)
                if run_id is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                        self._stopped[pid] = run_id

    def end(self) -> None:
        self._over.set()


@contextlib.contextmanager
def holding() -> Iterator[Held]:
    held = Held()
    watcher = threading.Thread(target=held.watch, daemon=True)
    watcher.start()
    try:
        yield held
    finally:
        held.end()
        watcher.join()


def _read(pid: int, name: str) -> str:
    """Content of a file of the process. Empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
