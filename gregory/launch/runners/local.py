"""Runs as processes of this machine: `python -m job`, one at a time, in a session of its own.

The process keeps a pipe to whoever started it and ends itself when that is gone. Its event lines go to a file in the
run's folder, one per attempt, so that they survive the follower and the attempt.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import psutil

from gregory.launch import processes
from gregory.launch.errors import SubmitError
from gregory.launch.runners.base import Life, Observation, Rendered
from gregory.ml.artifacts import RUNS_FOLDER
from gregory.runs.spec import RunHandle, RunSpec

POLL_SECONDS = 0.1
LAST_WORDS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """A process that this runner started, and where its standard error goes."""

    process: subprocess.Popen[bytes]
    standard_error: Path

    def release(self) -> None:
        """Give the lifeline back once nobody hangs on it."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def last_words(self) -> str:
        """What it said last, for the rows it could not close."""
        tail = _end_of(self.standard_error)
        return f"; last lines of its standard error:\n{tail}" if tail else ""


class LocalRunner:
    """The embedded default."""

    name = "local"
    concurrent = False

    def __init__(self, *, project_dir: Path, models_dir: Path, environment: Mapping[str, str]) -> None:
        """environment: what the runs inherit, database credentials included; they end at the run's door."""
        self._project_dir = project_dir
        self._models_dir = models_dir
        self._environment = environment
        self._children: dict[str, _Child] = {}

    def here(self) -> RunHandle:
        """This process."""
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        """`python -m job` with the specification in its environment."""
        return Rendered(
            spec=spec,
            argv=(sys.executable, "-m", "job"),
            environment={"GREGORY_RUN_SPEC": spec.model_dump_json(), "GREGORY_EVENT_FORMAT": "json", "GREGORY_LIFELINE": "1"},
        )

    def submit(self, rendered: Rendered) -> RunHandle:
        """Start the process and return at once."""
        folder = self._folder(rendered.spec)
        standard_error = folder / f"stderr-{rendered.spec.attempt}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._events(rendered.spec).open("ab") as events, standard_error.open("ab") as errors:
                process = subprocess.Popen(
                    rendered.argv,
                    cwd=self._project_dir,
                    env={**self._environment, **rendered.environment},
                    stdin=subprocess.PIPE,
                    stdout=events,
                    stderr=errors,
                    # Ctrl-C in the terminal must reach the command alone, which then ends the run in good order.
                    start_new_session=True,
                )
        except OSError as error:
            raise SubmitError(f"cannot start {rendered.spec.label} in {folder}: {error.strerror}") from error
        handle = processes.handle_of(process.pid)
        self._children[handle.name] = _Child(process=process, standard_error=standard_error)
        return handle

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """Look each process up; of another machine's processes nothing is known here."""
        return [self._observe(handle) for handle in handles]

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL after the grace; a stage ends with the process that started it."""
        if self._observe(handle).life is not Life.ALIVE:
            return
        process = psutil.Process(int(handle.name))
        process.terminate()
        try:
            self._wait(process, grace_seconds)
        except psutil.TimeoutExpired:
            process.kill()
            self._wait(process, None)

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], None]) -> Iterator[str]:
        """Complete lines of this attempt; a line that the process did not finish before it died is left out."""
        pending = b""
        with self._events(spec).open("rb") as stream:
            while True:
                ended = self._observe(handle).life is not Life.ALIVE
                *lines, pending = (pending + stream.read()).split(b"\n")
                for line in lines:
                    yield line.decode("utf-8", "replace")
                if ended:
                    return
                waiting()
                time.sleep(POLL_SECONDS)

    def tail(self, spec: RunSpec) -> str:
        """The last of this attempt's event lines."""
        return _end_of(self._events(spec))

    def forget(self, spec: RunSpec) -> None:
        """Remove the run's folder, with what every attempt left."""
        shutil.rmtree(self._folder(spec), ignore_errors=True)

    def _observe(self, handle: RunHandle) -> Observation:
        child = self._children.get(handle.name)
        if child is not None:
            code = child.process.poll()
            if code is None:
                return Observation(life=Life.ALIVE, detail=f"process {handle.name} runs")
            child.release()
            return Observation(life=Life.DEAD, detail=describe_exit(code) + child.last_words(), exit_code=code)
        if not processes.is_here(handle):
            return Observation(life=Life.UNKNOWN, detail=f"process {handle.name} belongs to host {handle.host}")
        if processes.is_alive(handle):
            return Observation(life=Life.ALIVE, detail=f"process {handle.name} runs")
        return Observation(life=Life.DEAD, detail=f"process {handle.name} on {handle.host} is gone and left no report")

    def _wait(self, process: psutil.Process, seconds: float | None) -> None:
        child = self._children.get(str(process.pid))
        if child is None:
            process.wait(seconds)
            return
        try:
            child.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise psutil.TimeoutExpired(seconds, process.pid) from error
        child.release()

    def _folder(self, spec: RunSpec) -> Path:
        return self._models_dir / RUNS_FOLDER / spec.run_id

    def _events(self, spec: RunSpec) -> Path:
        return self._folder(spec) / f"events-{spec.attempt}.jsonl"


def _end_of(path: Path) -> str:
    """The last bytes of a log as text; empty where there is no log."""
    return path.read_bytes()[-LAST_WORDS:].decode("utf-8", "replace").strip() if path.exists() else ""


def describe_exit(code: int) -> str:
    """An exit code of subprocess in words."""
    if code < 0:
        return f"the run's process was killed by signal {-code} ({Signals(-code).name})"
    return f"the run's process exited with code {code} without a report"
