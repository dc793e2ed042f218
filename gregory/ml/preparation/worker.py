"""Run one step of a preparation as a process: torch and TensorFlow are in separate processes, and the memory is freed at the end.

A step is a module of this package, started with `python -m` and a few paths. It writes progress as JSON lines to standard output. A
BundleError is the last line on standard error, with its own exit code.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gregory.ml import parent_watch
from gregory.ml.errors import BundleError
from gregory.ml.progress import Report, decode, writer

_REFUSED = 3
_WATCH_PARENT = "--lifeline"
_PROJECT = Path(__file__).parents[3]
# No downloads and no output of libraries. No GPU, because its shortened floats would fail the comparison.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


def run(module: str, *arguments: Path | str, report: Report) -> None:
    """Run `python -m gregory.ml.preparation.<module>`. Raises BundleError with its last line if it fails."""
    command = [sys.executable, "-m", f"{__package__}.{module}", _WATCH_PARENT, *map(str, arguments)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        with subprocess.Popen(
            command,
            cwd=_PROJECT,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                _forward(line, report)
            # Wait before the block closes the pipe. A step near its end must not take that for the end of its parent.
            process.wait()
        if process.returncode:
            errors.seek(0)
            raise BundleError(_failure(module, process.returncode, errors.read().strip().splitlines()))


def step(work: Callable[..., None], arguments: Sequence[str]) -> int:
    """The main function of a step: call `work(*paths, report=...)` and return the exit code."""
    if arguments[0] == _WATCH_PARENT:
        parent_watch.watch(sys.stdin.fileno(), lambda: os._exit(1))
        arguments = arguments[1:]
    try:
        work(*map(Path, arguments), report=writer(sys.stdout))
    except BundleError as error:
        # One line, because the quoted library can write several.
        sys.stderr.write(" / ".join(str(error).splitlines()) + "\n")
        return _REFUSED
    return 0


def _forward(line: str, report: Report) -> None:
    try:
        progress = decode(line)
    except ValueError:
        return  # the output of a library
    report(progress)


def _failure(module: str, code: int, lines: list[str]) -> str:
    last = lines[-1] if lines else "no message"
    if code == _REFUSED:
        return last
    if code == -signal.SIGKILL:
        return f"the step {module} was killed, probably because memory was full: give this machine more memory"
    return f"the step {module} ended with exit code {code}: {last}"
