"""`python -m tests.preparation.fetching PIN`: download a model like the preparation. It prints progress and the folder, or the error."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gregory.ml.errors import BundleError
from gregory.ml.preparation import hub
from gregory.ml.preparation.pins import Pin
from gregory.ml.progress import Progress, Report

# A Python of some environment, run with these arguments and variables.
Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("config.json", "vocab.txt")


def fetch(pin: Pin, *, report: Report) -> Path:
    """The folder of the model, with two small files and its weights."""
    return hub.fetch(pin, small=SMALL, report=report)


def info(progress: Progress) -> None:
    """Print one line immediately."""
    sys.stdout.write(f"{progress.message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        folder = fetch(Pin(**json.loads(sys.argv[1])), report=info)
    except BundleError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{folder}\n")
