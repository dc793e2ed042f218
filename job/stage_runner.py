"""Run the stages of one run, each in its own folder, and write heartbeats and progress to the database."""

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gregory.ml.errors import DamagedFile
from gregory.ml.files import link_or_copy, read_text
from gregory.ml.progress import Progress
from gregory.ml.stages import contract
from gregory.runs import store
from gregory.runs.db_retry import best_effort, close_connection
from gregory.runs.heartbeat import HEARTBEAT_SECONDS
from gregory.runs.spec import AlgorithmSpec, RunSpec
from gregory.shutdown import ShutdownRequest
from job.event_log import EventLogger
from job.heartbeats import IdleTime, RepeatedCall
from job.supervise import StageFailed, Usage, read_usage, run_stage

Result = TypeVar("Result", bound=BaseModel)


class StageRunner:
    """Runs the stages of one attempt. `usage` has the resources of every stage that ended, by the name of the stage."""

    def __init__(self, spec: RunSpec, log: EventLogger, shutdown: ShutdownRequest, *, stages_dir: Path) -> None:
        self._spec = spec
        self._log = log
        self._shutdown = shutdown
        self._stages_dir = stages_dir
        self._heartbeats: RepeatedCall | None = None
        self.usage: dict[str, Usage] = {}

    def prepare(self, name: str) -> Path:
        """The folder of a stage, with a folder `in` for its input."""
        folder = self._stages_dir / name
        (folder / "in").mkdir(parents=True, exist_ok=True)
        return folder

    def run(self, stage: str, folder: Path, request: BaseModel, *, algorithms: tuple[AlgorithmSpec, ...]) -> Path:
        """The output folder of a stage. The stage runs only if no earlier attempt finished it. Raises StageFailed.

        algorithms: their records get the progress. The stage ends if another program ends all of their rows.
        """
        request_file = folder / "in" / contract.REQUEST
        if (folder / "out").exists():
            if _is_result_of(request, request_file):
                self._log.info(f"{folder.name}: done by an earlier attempt")
                self.usage[stage] = read_usage(folder)
                return folder / "out"
            shutil.rmtree(folder / "out")
        request_file.write_text(request.model_dump_json(indent=2), encoding="utf-8")
        started, idle, latest = time.monotonic(), IdleTime(), Progress(message="starting")
        overridden = ShutdownRequest()
        algorithm = algorithms[0].algorithm if len(algorithms) == 1 else ""

        def report(progress: Progress) -> None:
            nonlocal latest
            # A repeated message is no progress.
            if progress != latest:
                idle.restart()
            latest = progress
            self._log.progress(progress, algorithm=algorithm, stage=stage)

        def write() -> None:
            left = seconds_left(latest.fraction, time.monotonic() - started)
            for one in algorithms:
                store.record_progress(self._spec, one.run_log_id, stage=stage, progress=latest, seconds_left=left)
            # Heartbeat and progress differ: this process writes heartbeats even if the stage hangs.
            store.heartbeat([self._spec], idle=idle.seconds())
            self.check_for_end()
            if cause := store.overriding(self._spec, algorithms):
                overridden.request(cause)

        self._heartbeats = RepeatedCall(partial(_dropped_if_away, write), seconds=HEARTBEAT_SECONDS, after=self._heartbeats)
        try:
            self.usage[stage] = run_stage(
                stage,
                folder,
                shutdown=self._shutdown,
                overridden=overridden,
                report=report,
                algorithm=algorithm if stage == "train" else "",
            )
        except StageFailed as failure:
            self.usage[stage] = failure.usage
            raise
        finally:
            self._heartbeats.close()
        return folder / "out"

    def check_for_end(self) -> None:
        """Request the shutdown if the run has ended, has a later attempt or is being ended.

        Two attempts must not work in one folder. An attempt that was taken for terminated and continues must stop.
        """
        if not store.is_unfinished(self._spec):
            self._shutdown.request("superseded: the run was ended, or resumed in another attempt")
        elif announced := store.announced_end(self._spec):
            self._shutdown.request(announced.summary)

    def resources(self) -> dict[str, Any]:
        """`usage` as stored in the record of a training."""
        return {"stages": {stage: asdict(usage) for stage, usage in self.usage.items()}}


def _dropped_if_away(write: Callable[[], None]) -> None:
    """Write, or drop the heartbeat if the database cannot be reached. No connection stays open."""
    try:
        best_effort(write, otherwise=None)
    finally:
        close_connection()


def read_result(out: Path, result: type[Result]) -> Result:
    """The result that a stage wrote into its output folder. Raises OSError, DamagedFile or ValidationError."""
    return result.model_validate_json(read_text(out / contract.RESULT))


def _is_result_of(request: BaseModel, request_file: Path) -> bool:
    """Whether the finished stage did the same work. False if its request is damaged."""
    try:
        return contract.same_work(request, type(request).model_validate_json(read_text(request_file)))
    except (DamagedFile, ValidationError):
        return False


def add_file(file: Path, folder: Path) -> None:
    """Add the file to the folder. It replaces one of the same name from an earlier attempt."""
    (folder / file.name).unlink(missing_ok=True)
    link_or_copy(file, folder / file.name)


def seconds_left(fraction: float | None, elapsed: float) -> float | None:
    """The remaining time if the stage keeps its average speed. None before the first fraction."""
    return None if not fraction else round(elapsed * (1 - fraction) / fraction, 1)
