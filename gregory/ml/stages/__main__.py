"""Stages as processes: an input folder, an output folder, and progress as JSON lines on standard output.

    python -m gregory.ml.stages train --in D --out D

works by hand as it does under a supervisor. The output folder gets its name when it is complete. Before that, and after a failure, it
is `<out>.partial`, and error.json contains the error. `<out>.kept` contains the completed parts, and the same command continues from
it. No Django, no credentials, no network.
"""

import argparse
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError

from gregory.collector import skip_at_exit
from gregory.ml import parent_watch, progress
from gregory.ml.errors import DamagedFile
from gregory.ml.files import flush_tree, read_text
from gregory.ml.progress import Report
from gregory.ml.stages import compare, predict, work
from gregory.ml.stages.contract import (
    ERROR,
    NOT_WRITTEN,
    REQUEST,
    RESULT,
    CompareRequest,
    GpuRequest,
    PredictRequest,
    PseudoLabelRequest,
    ReportRequest,
    StageError,
    SummariseRequest,
    TrainRequest,
    kind_of,
    same_work,
)
from gregory.ml.stages.report import make_report
from gregory.output import Output

STAGES: dict[str, Callable[[Path, Path, Report, Path], BaseModel]] = {
    "find_gpu": work.find_gpu,
    "summarise": work.summarise,
    "pseudo_label": work.pseudo_label,
    "train": work.train,
    "compare": compare.compare,
    "report": make_report,
    "predict": predict.predict_texts,
}
REQUESTS: dict[str, type[BaseModel]] = {
    "find_gpu": GpuRequest,
    "summarise": SummariseRequest,
    "pseudo_label": PseudoLabelRequest,
    "train": TrainRequest,
    "compare": CompareRequest,
    "report": ReportRequest,
    "predict": PredictRequest,
}


def perform(stage: str, source: Path, target: Path, report: Report) -> int:
    """Run one stage and return the exit code. After that, `target` exists only if the stage succeeded."""
    unfinished = target.with_name(f"{target.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        result = STAGES[stage](source, unfinished, report, _resume_dir(stage, source, target))
        (unfinished / RESULT).write_text(result.model_dump_json(indent=2), encoding="utf-8")
        # The next attempt uses a folder of this name, even after a power cut.
        flush_tree(unfinished)
        unfinished.rename(target)
    except Exception as error:  # noqa: BLE001 - every error of a stage becomes its error.json here
        return 1 if _explain(_describe(error), unfinished, report) else NOT_WRITTEN
    return 0


def _resume_dir(stage: str, source: Path, target: Path) -> Path:
    """The folder of completed parts beside the target. If they belong to other work, it is emptied."""
    folder = target.with_name(f"{target.name}.kept")
    request, kind = (source / REQUEST).read_text(encoding="utf-8"), REQUESTS[stage]
    if not _is_for(kind.model_validate_json(request), folder / REQUEST):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / REQUEST).write_text(request, encoding="utf-8")
    return folder


def _is_for(request: BaseModel, kept: Path) -> bool:
    try:
        return same_work(request, type(request).model_validate_json(read_text(kept)))
    except (OSError, DamagedFile, ValidationError):
        return False


def _explain(error: StageError, unfinished: Path, report: Report) -> bool:
    """Write error.json. False if that is not possible. The error can be a full disk."""
    # The files of a failed stage are useless, and without them the disk has more space.
    shutil.rmtree(unfinished, ignore_errors=True)
    Output(sys.stderr).write(error.traceback)
    described = unfinished / ERROR
    try:
        unfinished.mkdir(parents=True)
        described.write_text(error.model_dump_json(), encoding="utf-8")
    except OSError:
        with suppress(OSError):
            described.unlink()  # an incomplete file cannot be read
        # A pipe needs no disk.
        report(progress.Progress(message=f"failed: {error.message}"))
        return False
    return True


def _describe(error: BaseException) -> StageError:
    return StageError(kind=kind_of(error), message=str(error) or type(error).__name__, traceback=traceback.format_exc())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of a stage and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gregory.ml.stages", description=__doc__.partition("\n")[0])
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--in", dest="source", type=Path, required=True, help="folder with request.json and the stage's input")
    parser.add_argument("--out", dest="target", type=Path, required=True, help="folder to make; must not exist")
    parser.add_argument("--lifeline", dest="watch_parent", action="store_true", help="exit at once when standard input closes")
    options = parser.parse_args(arguments)
    if options.target.exists():
        parser.error(f"--out {options.target} exists already")
    if options.watch_parent:
        parent_watch.watch(sys.stdin.fileno(), lambda: os._exit(1))
    # Libraries print to standard output. It is reserved for progress lines, so their output goes to standard error.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return perform(options.stage, options.source, options.target, progress.writer(lines))


if __name__ == "__main__":
    skip_at_exit()
    sys.exit(main())
