"""`python -m tests.live.nfs_guest FOLDER`: one machine of `tests.live.nfs`. It executes the requests in its folder, one after another.

A request is a file `1.request`, `2.request` ... with the name of a function and its arguments. The answer is in `1.answer`.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from gregory.ml import artifacts
from gregory.ml.errors import TrainingError
from gregory.ml.stages import contract
from gregory.runs.spec import AlgorithmSpec, RunSpec, Scope
from job import attempt_folder
from job.fence import Fence, Superseded
from tests.launch.example_run import example_spec

MODELS = Path("/mnt/models")
ALGORITHM, VERSION, ROW = "lstm", "20260101", 7
POLL_SECONDS = 0.1


def spec_of(subject: str, attempt: int = 1) -> RunSpec:
    """The run of a case. Each case has a subject of its own."""
    algorithm = AlgorithmSpec(algorithm=ALGORITHM, run_log_id=ROW, version=VERSION)
    scope = Scope(id=2, slug=subject)
    return example_spec().model_copy(update={"subject": scope, "algorithms": (algorithm,), "attempt": attempt})


def version_of(subject: str, models: Path = MODELS) -> Path:
    return artifacts.version_folder(models, team="team", subject=subject, algorithm=ALGORITHM, version=VERSION)


class Machine:
    """The requests that a machine knows. folder: for signs between a request that waits and the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fences: dict[str, Fence] = {}

    def plain(self, subject: str) -> bool:
        """Whether a reader without our care finds the version."""
        return (version_of(subject) / artifacts.MANIFEST).exists()

    def defects(self, subject: str) -> list[str]:
        """The defects of the version, as every command of ours finds them. A missing version has one."""
        return artifacts.verify(version_of(subject))

    def take(self, subject: str, attempt: int) -> float:
        """Begin an attempt as `python -m job` does. Returns the seconds until it had the fence."""
        began = time.monotonic()
        fence = self._fences[subject] = Fence(MODELS, spec_of(subject, attempt))
        assert fence.take(lambda: False)
        return time.monotonic() - began

    def take_over(self, subject: str, attempt: int) -> list[str]:
        """The finished stages that the attempt gets from the last one."""
        spec = spec_of(subject, attempt)
        stages = attempt_folder.take_over(spec.folder(MODELS), attempt)
        return sorted(path.relative_to(stages).as_posix() for path in stages.rglob("*") if path.is_file())

    def publish(self, subject: str, attempt: int, pause: bool) -> str:
        """Publish the model of the attempt. pause: wait between the last comparison of the fence and the rename."""
        model = spec_of(subject, attempt).folder(MODELS).stages(attempt) / f"train-{ALGORITHM}" / "out" / contract.MODEL_FOLDER

        @contextmanager
        def guard() -> Iterator[None]:
            with self._fences[subject].held():
                if pause:
                    (self._folder / "paused").touch()
                    _wait(lambda: (self._folder / "go").exists())
                yield

        try:
            artifacts.publish(model, version_of(subject), guard=guard)
        except (Superseded, TrainingError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        return "published"


def main(folder: Path) -> None:
    machine = Machine(folder)
    for number in count(1):
        request = folder / f"{number}.request"
        _wait(request.exists)
        function, *arguments = json.loads(request.read_text())
        if function == "end":
            return
        answer: Any = getattr(machine, function)(*arguments)
        unfinished = folder / "unfinished"
        unfinished.write_text(json.dumps(answer))
        unfinished.rename(folder / f"{number}.answer")


def _wait(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
