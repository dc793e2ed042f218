"""Runs as processes of this machine: `python -m job`, one at a time, in a session of its own.

The process keeps a pipe to whoever started it and ends itself when that is gone. Its event lines go to a file in the
run's folder, one per attempt, so that they survive the follower and the attempt.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from gregory.launch import preconditions, processes
from gregory.launch.errors import SubmitError
from gregory.launch.local import diagnose
from gregory.launch.runner import Installation, Observation, Rendered, Status
from gregory.ml.artifacts import RUNS_FOLDER
from gregory.runs.spec import RunHandle, RunSpec

POLL_SECONDS = 0.1
LOG_TAIL_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """A process that this runner started, and where its standard error goes."""

    process: subprocess.Popen[bytes]
    standard_error: Path

    def release(self) -> None:
        """Give the lifeline back once nobody hangs on it."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def log_tail(self) -> str:
        """What it said last, for the rows it could not close."""
        return _end_of(self.standard_error)


class LocalRunner:
    """The embedded default."""

    name = "local"
    durable = False
    max_parallel: int | None = 1
    shares_models_dir = True
    # Whether this machine has one is for whoever sets GREGORY_REQUIRE_GPU to know.
    gives_gpu = False
    # Whoever started a run follows it: nobody else has its environment.
    max_attempts = 1

    def __init__(self, installation: Installation) -> None:
        """Runs inherit this process's environment; credentials end at the run's door."""
        self._installation = installation
        self._models_dir = installation.models_dir
        self._children: dict[str, _Child] = {}
        self.stall_seconds = installation.environment.GREGORY_STALL_AFTER

    def check(self) -> None:
        """The bundle is intact, the models folder takes files."""
        preconditions.require_bundle(self._installation.bundle_dir)
        preconditions.require_models_folder(self._models_dir)

    def owner_handle(self) -> RunHandle:
        """This process."""
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        """`python -m job` with the specification in its environment."""
        environment = {"GREGORY_RUN_SPEC": spec.model_dump_json(), "GREGORY_EVENT_FORMAT": "json", "GREGORY_LIFELINE": "1"}
        return Rendered(spec=spec, request={"command": [sys.executable, "-m", "job"], "environment": environment})

    def submit(self, rendered: Rendered) -> RunHandle:
        """Start the process and return at once."""
        folder = self._folder(rendered.spec)
        standard_error = folder / f"stderr-{rendered.spec.attempt}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._events(rendered.spec).open("ab") as events, standard_error.open("ab") as errors:
                process = subprocess.Popen(
                    rendered.request["command"],
                    cwd=self._installation.project_dir,
                    env={**self._installation.inherited, **rendered.request["environment"]},
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
        if self._observe(handle).status is not Status.ALIVE:
            return
        process = psutil.Process(int(handle.name))
        process.terminate()
        try:
            self._wait(process, grace_seconds)
        except psutil.TimeoutExpired:
            process.kill()
            self._wait(process, None)

    def logs(self, spec: RunSpec, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        """Complete lines of this attempt; a line that the process did not finish before it died is left out."""
        pending = b""
        if not self._events(spec).exists():
            # Another machine's run, or one whose folder was swept.
            return
        with self._events(spec).open("rb") as stream:
            while True:
                ended = self._observe(handle).status is not Status.ALIVE
                *lines, pending = (pending + stream.read()).split(b"\n")
                for line in lines:
                    yield line.decode("utf-8", "replace")
                if ended:
                    return
                waiting()
                time.sleep(POLL_SECONDS)

    def log_tail(self, spec: RunSpec) -> str:
        """The last of this attempt's event lines."""
        return _end_of(self._events(spec))

    def debug_commands(self, spec: RunSpec, handle: RunHandle) -> list[str]:
        """Of this machine; the process may have ended."""
        return [f"ps -fp {handle.name}", f"tail -f {shlex.quote(str(self._events(spec)))}"]

    def cleanup(self, spec: RunSpec) -> None:
        """Remove the run's folder, with what every attempt left."""
        shutil.rmtree(self._folder(spec), ignore_errors=True)

    def collect_garbage(self, unfinished: Collection[str], *, keep_seconds: float) -> list[str]:
        """Remove the working folders, whichever runner's runs worked in them."""
        removed = []
        for folder in sorted((self._models_dir / RUNS_FOLDER).glob("*/")):
            # Another one may be sweeping the same volume.
            with suppress(FileNotFoundError):
                if folder.name not in unfinished and folder.stat().st_mtime < time.time() - keep_seconds:
                    shutil.rmtree(folder)
                    removed.append(f"the working folder of {folder.name}")
        return removed

    def _observe(self, handle: RunHandle) -> Observation:
        child = self._children.get(handle.name)
        if child is None:
            return processes.observe(handle)
        code = child.process.poll()
        if code is None:
            return Observation(status=Status.ALIVE, detail=f"process {handle.name} runs")
        child.release()
        return diagnose.ended_process(code, child.log_tail())

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
    return path.read_bytes()[-LOG_TAIL_CHARACTERS:].decode("utf-8", "replace").strip() if path.exists() else ""
