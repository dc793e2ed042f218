"""What must hold before any row is written: an intact bundle and a models folder that takes files."""

import tempfile
from pathlib import Path

from gregory.ml.base_models import verify_bundle
from gregory.ml.errors import BundleError


class NotReady(Exception):
    """This machine cannot carry out a run now; the message names what is missing and the remedy."""


def check(*, bundle_dir: Path, models_dir: Path) -> None:
    """Raise NotReady with the first thing that would make every training fail."""
    try:
        verify_bundle(bundle_dir)
    except BundleError as error:
        raise NotReady(str(error)) from error
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=models_dir) as probe:
            # A full disk still makes empty files: ask for one block.
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        raise NotReady(f"the models folder {models_dir} takes no files: {error.strerror}; free space or correct its permissions") from error
