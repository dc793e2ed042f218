"""One step of a preparation as a process of its own: torch and TensorFlow never meet, and memory is free again afterwards.

A step is a module of this package, started with `python -m` and a few paths. It tells progress as JSON lines on its
standard output; a BundleError is its last line on standard error, with an exit code of its own.
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
_LIFELINE = "--lifeline"
_PROJECT = Path(__file__).parents[3]
# Nothing is fetched here any more, libraries keep their chatter to themselves, and a GPU's shortened floats would fail the comparison.
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
}


def run(module: str, *arguments: Path | str, report: Report) -> None:
    """Run `python -m gregory.ml.preparation.<module>`. Raises BundleError with what it said where it fails."""
    command = [sys.executable, "-m", f"{__package__}.{module}", _LIFELINE, *map(str, arguments)]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        with subprocess.Popen(
            command,
            cwd=_PROJECT,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                _tell(line, report)
            # Before the block closes the lifeline: a step that is about to end well must not see it break.
            process.wait()
        if process.returncode:
            complaints.seek(0)
            raise BundleError(_failure(module, process.returncode, complaints.read().strip().splitlines()))


def step(work: Callable[..., None], arguments: Sequence[str]) -> int:
    """What such a module does when it is started: `work(*paths, report=...)`. Returns its exit code."""
    if arguments[0] == _LIFELINE:
        parent_watch.watch(sys.stdin.fileno(), lambda: os._exit(1))
        arguments = arguments[1:]
    try:
        work(*map(Path, arguments), report=writer(sys.stdout))
    except BundleError as error:
        # One line, whatever the library that is quoted wrote.
        sys.stderr.write(" / ".join(str(error).splitlines()) + "\n")
        return _REFUSED
    return 0


def _tell(line: str, report: Report) -> None:
    try:
        progress = decode(line)
    except ValueError:
        return  # a library's print
    report(progress)


def _failure(module: str, code: int, lines: list[str]) -> str:
    last = lines[-1] if lines else "it said nothing"
    if code == _REFUSED:
        return last
    if code == -signal.SIGKILL:
        return f"the step {module} was killed, most likely for want of memory: give this machine more"
    return f"the step {module} ended with exit code {code}: {last}"
