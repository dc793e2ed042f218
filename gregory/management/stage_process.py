"""A stage as a process below a command. The training libraries are in that process only."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from gregory.ml import progress
from gregory.ml.errors import TrainingError
from gregory.ml.files import read_text
from gregory.ml.stages import contract
from gregory.ml.stages.environment import stage_environment, worker_command


def perform(stage: str, folder: Path, request: BaseModel, *, say: Callable[[str], object]) -> Path:
    """Run a stage on folder/in and return its output folder. say: called with its messages. Raises TrainingError, and OSError.

    The stage ends with this process.
    """
    (folder / "in").mkdir(parents=True, exist_ok=True)
    (folder / "in" / contract.REQUEST).write_text(request.model_dump_json(indent=2), encoding="utf-8")
    with (
        (folder / "stderr.log").open("wb") as errors,
        subprocess.Popen(
            worker_command(stage, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=stage_environment(os.environ)
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - opened as a pipe above
        for line in process.stdout:
            try:
                message = progress.decode(line.decode("utf-8", "replace")).message
            except ValueError:
                # A library wrote this line directly to the file descriptor.
                continue
            say(message)
        # Its standard input stays open until its end, because it ends when the input closes.
        process.wait()
    if process.returncode != 0 or not (folder / "out").is_dir():
        raise TrainingError(_cause(stage, folder, process.returncode))
    return folder / "out"


def _cause(stage: str, folder: Path, code: int) -> str:
    described = folder / "out.partial" / contract.ERROR
    if described.exists():
        return contract.StageError.model_validate_json(read_text(described)).message
    last = (folder / "stderr.log").read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return f"the stage {stage} ended with code {code}" + (f": {last}" if last else "")
