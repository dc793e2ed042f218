"""`python -m tests.preparation.fetching PIN`: download a model like the preparation. It prints progress and the folder, or the error."""

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


def info(progress: Progress) -> None:
    """Print one line immediately."""
    sys.stdout.write(f"{progress.message}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        folder = fetch(Pin(**json.loads(sys.argv[1])), small=SMALL, weights=WEIGHTS, report=info)
    except BundleError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{folder}\n")
