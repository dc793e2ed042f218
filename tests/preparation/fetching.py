"""`python -m tests.preparation.fetching PIN`: fetch one model as the preparation does; progress, then the folder, or the refusal."""

import json
import subprocess
import sys
from collections.abc import Callable

from gregory.ml.errors import BundleError
from gregory.ml.preparation.hub import Pin, fetch
from gregory.ml.progress import Progress

# A Python of some environment, run with these arguments and variables.
Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL, WEIGHTS = ("config.json", "vocab.txt"), ("model.safetensors", "pytorch_model.bin")


def say(progress: Progress) -> None:
    """One line each, at once."""
    sys.stdout.write(f"{progress.message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        folder = fetch(Pin(**json.loads(sys.argv[1])), small=SMALL, weights=WEIGHTS, report=say)
    except BundleError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{folder}\n")
