"""Execute runs as processes of this machine: `python -m job`, each in a session of its own, GREGORY_LOCAL_RUNS at once.

The process has a pipe to the process that started it, and ends when that process ends. It writes its event lines to a file in the
working folder, one file per attempt. So they remain after the end of both processes.
"""

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil

from gregory.forking.client import Forked
from gregory.launch import database, preconditions, processes
from gregory.launch.errors import SubmitError, TerminationTimeout
from gregory.launch.local import diagnose, starter
from gregory.launch.runner import Installation, Observation, Rendered, Status, poll_seconds
from gregory.ml import run_folder
from gregory.ml.errors import DamagedFile
from gregory.ml.files import ANY_SIZE, open_regular, read_end
from gregory.ml.run_folder import RunFolder
from gregory.ml.stages.environment import stage_threads
from gregory.runs.diagnosis import LOG_TAIL_CHARACTERS, log_tail_of
from gregory.runs.spec import Attempt, RunHandle, RunSpec
from gregory.runs.volume import Volume, VolumeUnavailable

KILL_SECONDS = 10.0
# An event has at most one traceback. A foreign program may write without an end of line.
MAXIMUM_LINE_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Child:
    """A process that this runner started, and the file of its standard error."""

    process: subprocess.Popen[bytes] | Forked
    standard_error: Path

    def release(self) -> None:
        """Close the pipe after the end of the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def log_tail(self) -> str:
        """The end of its standard error, for the rows that it could not close."""
        return _end_of(self.standard_error)


class LocalRunner:
    """The default runner. It needs no other software."""

    name = "local"
    durable = False
    shares_models_dir = True
    sees_models = True
    # The runner does not know whether this machine has a GPU. An operator sets GREGORY_REQUIRE_GPU.
    gives_gpu = False
    # Only the command that started a run has its environment, so a reconciler cannot retry the run.
    max_attempts = 1

    def __init__(self, installation: Installation) -> None:
        """Runs inherit the environment of this process. A run passes no credentials to its stages."""
        self._installation = installation
        self._models_dir = installation.models_dir
        self._volume = Volume(installation.models_dir)
        self.max_parallel: int | None = installation.environment.GREGORY_LOCAL_RUNS
        self._children: dict[str, _Child] = {}
        self._at_once = 1
        self._starter = starter.Starter()
        self.stall_seconds = installation.environment.GREGORY_STALL_AFTER

    def check(self, specs: Sequence[RunSpec]) -> None:
        """Check that the bundle is intact and that the models can be published. Raises PreconditionFailed."""
        self._starter.prepare(folder=self._installation.project_dir, environment=self._installation.inherited)
        preconditions.require_bundle(self._installation.bundle_dir, digest=self._installation.environment.GREGORY_BASE_MODELS_DIGEST)
        preconditions.require_fitting_bundle(self._installation.bundle_dir, specs)
        preconditions.require_models_folder(self._models_dir, specs)
        self._at_once = min(self._installation.environment.GREGORY_LOCAL_RUNS, len(specs))
        if len(specs) > 1:
            self._starter.expect(one.algorithm for spec in specs for one in spec.algorithms)

    def owner_handle(self) -> RunHandle:
        """This process."""
        return processes.handle_of(os.getpid())

    def render(self, spec: RunSpec) -> Rendered:
        """The command `python -m job` and its environment with the specification."""
        environment = {"GREGORY_RUN_SPEC": spec.model_dump_json(), "GREGORY_EVENT_FORMAT": "json", "GREGORY_LIFELINE": "1"}
        return Rendered(spec=spec, request={"command": starter.COMMAND, "environment": environment})

    def submit(self, rendered: Rendered) -> RunHandle:
        """Start the process without waiting. Raises SubmitError."""
        folder = self._folder(rendered.spec).path
        standard_error = folder / f"stderr-{rendered.spec.attempt}.log"
        try:
            self._folder(rendered.spec).make()
            with self._events(rendered.spec).open("ab") as events, standard_error.open("ab") as errors:
                process = self._starter.start_run(
                    rendered.request["command"],
                    folder=self._installation.project_dir,
                    environment={**database.of_run(self._installation.inherited), **self._share(), **rendered.request["environment"]},
                    stdout=events,
                    stderr=errors,
                )
        except OSError as error:
            raise SubmitError(f"cannot start {rendered.spec.label} in {folder}: {error.strerror}") from error
        try:
            handle = processes.handle_of(process.pid)
        except psutil.NoSuchProcess as error:
            raise SubmitError(f"cannot start {rendered.spec.label}: process {process.pid} ended at once") from error
        if isinstance(process, Forked):
            process.begin()
        self._children[handle.name] = _Child(process=process, standard_error=standard_error)
        return handle

    def observe(self, handles: Sequence[RunHandle]) -> list[Observation]:
        """Observe each process. The status is UNKNOWN for processes of other machines, and for those that this account cannot see."""
        return [self._observe(handle) for handle in handles]

    def cancel(self, handle: RunHandle, *, grace_seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after the grace period. A stage ends together with the process that started it.

        A process of another account gets no signal. It reads the announced end with its next heartbeat. Raises TerminationTimeout if
        the process survives: it waits in the kernel, for example for a file server that hangs.
        """
        if self._observe(handle).status is not Status.ALIVE:
            return
        # It may end at any of these steps.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process = psutil.Process(int(handle.name))
            process.terminate()
            try:
                self._wait(process, grace_seconds)
            except psutil.TimeoutExpired:
                process.kill()
                try:
                    self._wait(process, KILL_SECONDS)
                except psutil.TimeoutExpired as error:
                    raise TerminationTimeout(f"process {handle.name} was killed, and the kernel does not end it") from error

    def logs(self, spec: Attempt, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str]:
        """The lines of this attempt, with waits between them."""
        last_line = time.monotonic()
        for line in self.lines(spec, handle, waiting=waiting):
            if line is None:
                self._pause(handle, poll_seconds(time.monotonic() - last_line))
            else:
                last_line = time.monotonic()
                yield line

    def lines(self, spec: Attempt, handle: RunHandle, *, waiting: Callable[[], bool]) -> Iterator[str | None]:
        """The lines of this attempt. None: no line is there yet. A line above MAXIMUM_LINE_BYTES is dropped.

        An unfinished last line comes after the end of the run. A process that cannot be seen from here, for example on another machine,
        is followed as long as `waiting` returns True.
        """
        pending, may_work = b"", True
        try:
            with open_regular(self._events(spec), maximum=ANY_SIZE) as stream:
                while True:
                    found = self._observe(handle)
                    unseen = found.status is Status.UNKNOWN and found.diagnosis is None
                    ended = not (found.status is Status.ALIVE or (unseen and may_work))
                    while content := stream.read(MAXIMUM_LINE_BYTES):
                        *lines, pending = (pending + content).split(b"\n")
                        yield from (line.decode("utf-8", "replace") for line in lines)
                        if len(pending) > MAXIMUM_LINE_BYTES:
                            pending = b""
                    if ended:
                        if pending:
                            yield pending.decode("utf-8", "replace")
                        return
                    may_work = waiting()
                    yield None
        except (FileNotFoundError, DamagedFile):
            # The run belongs to another machine, its working folder was removed, or another object is in the place of its log.
            return

    def log_tail(self, spec: Attempt) -> str:
        """The last event lines of this attempt. Empty if the models volume does not answer."""
        try:
            return self._volume.read(lambda: _end_of(self._events(spec)))
        except VolumeUnavailable:
            return ""

    def debug_commands(self, spec: Attempt, handle: RunHandle) -> list[str]:
        """Commands for this machine. The process may have ended. Empty if its log is gone, as after a success."""
        events = self._folder(spec).path / _events_of(spec)
        with suppress(VolumeUnavailable):
            if not self._volume.read(events.exists):
                return []
        return [f"ps -fp {handle.name}", f"tail -f {shlex.quote(str(events))}"]

    def cleanup(self, spec: Attempt) -> None:
        """Remove the working folder with the files of all attempts."""
        self._folder(spec).remove()

    def collect_garbage(
        self, unfinished: Collection[str], *, recent: Collection[str] = (), keep_seconds: float, now: datetime | None = None
    ) -> Iterator[str]:
        """Remove old working folders, also those of other runners. Links and files are none. Raises OSError after the last folder."""
        failures: list[str] = []
        found: list[tuple[Path, str, float]] = []
        # One folder must not keep the others.
        for place in self._volume.read(partial(run_folder.places, self._models_dir)):
            try:
                folders = self._volume.read(partial(run_folder.working_folders, place))
            except OSError as error:
                failures.append(str(error))
            else:
                found += [(place, *folder) for folder in folders]
        # After all lists, because `unfinished` is read at its first use.
        ended = [folder for folder in found if folder[1] not in unfinished and folder[1] not in recent]
        # The volume has written the times. If its clock is wrong, that of the database keeps the folders.
        clocks = [self._volume.read(partial(_time_of, self._models_dir)), *([now.timestamp()] if now else [])] if ended else [0.0]
        for place, name, modified in ended:
            if modified >= min(clocks) - keep_seconds:
                continue
            try:
                self._volume.read(partial(run_folder.remove, place, name))
            except FileNotFoundError:
                # Another process may remove folders of the same volume.
                continue
            except (OSError, RecursionError) as error:
                failures.append(f"{place / name}: {error}")
            else:
                yield f"the working folder of {name}"
        if failures:
            raise OSError("; ".join(dict.fromkeys(failures)))

    def _observe(self, handle: RunHandle) -> Observation:
        child = self._children.get(handle.name)
        if child is None:
            return processes.observe(handle)
        code = child.process.poll()
        if isinstance(child.process, Forked) and child.process.untold:
            found = processes.observe(handle)
            if found.status is Status.TERMINATED:
                child.release()
            return found
        if code is None:
            return Observation(status=Status.ALIVE, detail=f"process {handle.name} runs")
        child.release()
        return Observation(status=Status.TERMINATED, diagnosis=diagnose.ended_process(code, child.log_tail()))

    def _pause(self, handle: RunHandle, seconds: float) -> None:
        """Wait for new lines. The end of a child is noticed at once."""
        child = self._children.get(handle.name)
        if child is None:
            time.sleep(seconds)
            return
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(seconds)

    def _wait(self, process: psutil.Process, seconds: float) -> None:
        child = self._children.get(str(process.pid))
        if child is None or (isinstance(child.process, Forked) and child.process.untold):
            process.wait(seconds)
            return
        try:
            child.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise psutil.TimeoutExpired(seconds, process.pid) from error
        child.release()

    def _share(self) -> dict[str, str]:
        """The limit of threads of one of several runs. One run alone has that of this process."""
        if self._at_once <= 1:
            return {}
        most = stage_threads(self._installation.environment.OMP_NUM_THREADS)
        return {"OMP_NUM_THREADS": str(max(1, most // self._at_once))}

    def _folder(self, spec: Attempt) -> RunFolder:
        return spec.folder(self._models_dir)

    def _events(self, spec: Attempt) -> Path:
        return self._folder(spec).found() / _events_of(spec)


def _events_of(spec: Attempt) -> str:
    return f"events-{spec.attempt}.jsonl"


def _time_of(folder: Path) -> float:
    """The present time of the file system that has this folder."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime


def _end_of(path: Path) -> str:
    """The last bytes of a log as text. Empty if there is no log."""
    # A character has at most four bytes.
    return log_tail_of(read_end(path, size=4 * LOG_TAIL_CHARACTERS))
