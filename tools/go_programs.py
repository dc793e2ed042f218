"""Programs that are built once from the Go module proxy, and kept outside the checkout."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REMEDY = "install Go 1.24 or later and put it on the PATH"


def build_once(folder: Path, what: str, build: Callable[[Path], None]) -> Path:
    """Fill the folder, unless it exists: some minutes of two cores. `build` gets an empty folder. Returns the folder."""
    if not folder.exists():
        sys.stderr.write(f"building {what}, once: some minutes\n")
        folder.parent.mkdir(parents=True, exist_ok=True)
        # One rename at the end: a folder that exists is complete.
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            unfinished = Path(temporary) / "programs"
            unfinished.mkdir()
            build(unfinished)
            try:
                unfinished.rename(folder)
            except OSError:
                # Another process has built the programs meanwhile.
                if not folder.exists():
                    raise
    return folder


def go(*arguments: str, folder: Path, **variables: str) -> None:
    """Run the Go command in the folder, without C libraries."""
    subprocess.run(["go", *arguments], cwd=folder, env={**os.environ, "CGO_ENABLED": "0", **variables}, check=True)
