"""The processes of runs in pods, as the machine that has them sees them: found by the run's id, stopped, continued, killed."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from tools.cluster import cgroups

# A stage needs longer than that to load what it trains with.
POLL_SECONDS = 0.1
# After so many looks a process is taken for what it is: a new one has its parent's command line until it has one of its own.
LOOKS = 30


def of_run(run_id: str) -> list[int]:
    """Every process of its pods, the first one of each container first."""
    return sorted(pid for pid in cgroups.members() if run_id in _told(pid, "environ") or run_id in _told(pid, "cmdline"))


def send(run_id: str, number: int) -> None:
    """To all of them."""
    for pid in of_run(run_id):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


class Held:
    """Runs whose training stands still: the worker of a held run is stopped as soon as it is there, as often as there is one."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        self._stopped: dict[int, str] = {}
        self._anew = False
        self._over = threading.Event()

    def hold(self, run_id: str, *, stage: str = "train-") -> None:
        """`stage`: how the names of those begin that are to stand still."""
        self._held[run_id] = stage
        self._anew = True

    def holds(self, run_id: str) -> bool:
        """Whether it has a worker that is stopped by now."""
        return run_id in self._stopped.values()

    def worker(self, run_id: str) -> int:
        """The one that is stopped."""
        return next(pid for pid, held in list(self._stopped.items()) if held == run_id)

    def let_go(self, run_id: str, *, on: bool = True) -> None:
        """No later worker of it is stopped; the one that is goes on, unless it is to stand still for good."""
        self._held.pop(run_id, None)
        for pid in [pid for pid, held in list(self._stopped.items()) if held == run_id]:
            del self._stopped[pid]
            if on:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def watch(self) -> None:
        looks: dict[int, int] = {}
        while not self._over.wait(POLL_SECONDS):
            if self._anew:
                self._anew, looks = False, {}
            looks = {pid: looks.get(pid, 0) + 1 for pid in psutil.pids()}
            for pid in [pid for pid, times in looks.items() if times <= LOOKS and pid not in self._stopped]:
                command = _told(pid, "cmdline")
                run_id = next((run_id for run_id, stage in list(self._held.items()) if f"/{run_id}/stages/{stage}" in command), None)
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


def _told(pid: int, about: str) -> str:
    """A process may be gone when it is looked at."""
    try:
        return Path(f"/proc/{pid}/{about}").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
