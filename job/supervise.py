"""Start the worker process of one stage, pass on its progress and describe its end."""

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from signal import SIGKILL, Signals

from gregory.ml import progress, resources
from gregory.ml.errors import DamagedFile
from gregory.ml.files import read_end, read_json, read_text
from gregory.ml.progress import Progress
from gregory.ml.stages import contract
from gregory.ml.stages.environment import stage_environment, worker_command
from gregory.runs.reasons import Reason
from gregory.shutdown import ShutdownRequest
from job.worker import Worker

STANDARD_ERROR_TAIL = 4_000
USAGE_FILE = "usage.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The resources of a stage: wall time in seconds, and the peak resident memory of its process in bytes, 0 if not measured."""

    seconds: float
    peak_bytes: int


class StageFailed(Exception):
    """A stage ended without a result. `error` is its traceback, or a description of its end if there is none.

    where: of a stage that was ended: its name, its time and its last progress.
    """

    def __init__(self, reason: Reason, message: str, error: str, usage: Usage, *, where: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.error = error
        self.usage = usage
        self.where = where


def run_stage(
    stage: str,
    folder: Path,
    *,
    shutdown: ShutdownRequest,
    overridden: ShutdownRequest,
    report: progress.Report,
    algorithm: str = "",
) -> Usage:
    """Run `stage` on folder/in. Its result is then in folder/out. Raises StageFailed.

    shutdown: ends the run. overridden: ends this stage, because another program ended the rows that need it.
    report: called with each progress message of the worker. It must not wait for anything, because a request of the end is obeyed between
    two calls. algorithm: of a training.
    """

    def needed() -> bool:
        return not (shutdown.requested or overridden.requested)

    started = time.monotonic()
    memory_before = resources.memory_events()
    last = Progress(message="starting")
    with (
        (folder / "stderr.log").open("wb") as errors,
        Worker(
            worker_command(stage, folder),
            environment=stage_environment(os.environ),
            errors=errors,
            algorithm=algorithm,
            needed=needed,
        ) as worker,
    ):

        def watch() -> None:
            worker.sample()
            if not needed():
                worker.kill()

        # Before a sample, because a process that has just begun has not the memory of its stage.
        if not needed():
            worker.kill()
        watch()
        for line in worker.lines(watch):
            last = _pass_on(line.decode("utf-8", "replace"), report) or last
    usage = Usage(seconds=time.monotonic() - started, peak_bytes=worker.peak_bytes)
    if worker.exit_code != 0 or not (folder / "out").exists():
        raise _failure(folder, worker.exit_code, usage, (shutdown, overridden), memory_before, last)
    # The result is complete, and a full disk must not cost it.
    with suppress(OSError):
        (folder / USAGE_FILE).write_text(json.dumps(asdict(usage)), encoding="utf-8")
    return usage


def read_usage(folder: Path) -> Usage:
    """The resources of a finished stage. Zeros if its supervisor ended before it wrote them."""
    try:
        return Usage(**read_json(folder / USAGE_FILE))
    except (OSError, DamagedFile, TypeError):
        return Usage(seconds=0.0, peak_bytes=0)


def _pass_on(line: str, report: progress.Report) -> Progress | None:
    try:
        decoded = progress.decode(line)
    except ValueError:
        # A library wrote this line directly to the file descriptor.
        return None
    report(decoded)
    return decoded


def _failure(
    folder: Path,
    code: int,
    usage: Usage,
    requests: tuple[ShutdownRequest, ShutdownRequest],
    memory_before: resources.MemoryEvents,
    last: Progress,
) -> StageFailed:
    peak = f"; peak memory {usage.peak_bytes / 2**20:.0f} MiB" if usage.peak_bytes else ""
    where = f"in stage {folder.name} after {usage.seconds:.0f} s, at: {last.message}{peak}"
    for request, reason in zip(requests, (Reason.INTERRUPTED, Reason.OVERRIDDEN), strict=True):
        if request.requested:
            message = f"{request.reason} {where}"
            return StageFailed(reason, message, message, usage, where=where)
    described = folder / "out.partial" / contract.ERROR
    if code == 1 and described.exists():
        error = contract.StageError.model_validate_json(read_text(described))
        if Reason(error.kind) is not Reason.OUT_OF_MEMORY:
            return StageFailed(Reason(error.kind), error.message, error.traceback, usage)
        message = f"{error.message}; {where}; {_limit(resources.memory_events())}"
        return StageFailed(Reason.OUT_OF_MEMORY, message, f"{error.traceback}{message}", usage)
    tail = read_end(folder / "stderr.log", size=STANDARD_ERROR_TAIL).decode("utf-8", "replace").strip()
    tail_text = f"\nlast lines of its standard error:\n{tail}" if tail else ""
    memory = resources.memory_events()
    if code == -SIGKILL and memory.oom_kills > memory_before.oom_kills:
        message = f"out of memory: the kernel killed the worker (signal 9, SIGKILL) {where}; {_limit(memory)}"
        return StageFailed(Reason.OUT_OF_MEMORY, message, message + tail_text, usage)
    if code < 0:
        message = f"the worker was killed by signal {-code} ({Signals(-code).name}) {where}"
        return StageFailed(Reason.KILLED, message, message + tail_text, usage)
    if code == contract.NOT_WRITTEN:
        message = f"the file system refused every write {where}"
        return StageFailed(Reason.STORAGE, message, message + tail_text, usage)
    message = f"the worker exited with code {code} and no explanation {where}"
    return StageFailed(Reason.ERROR, message, message + tail_text, usage)


def _limit(memory: resources.MemoryEvents) -> str:
    return f"the limit is {memory.limit / 2**20:.0f} MiB" if memory.limit else "the machine has no more memory"
