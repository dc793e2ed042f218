"""Checks of this machine before any row is written: an intact bundle and a writable models folder."""

import tempfile
from pathlib import Path

from gregory.launch.errors import PreconditionFailed
from gregory.ml.base_models import verify_bundle
from gregory.ml.errors import BundleError


def require_bundle(bundle_dir: Path) -> None:
    """Raise PreconditionFailed if the base models are missing or damaged."""
    try:
        verify_bundle(bundle_dir)
    except BundleError as error:
        raise PreconditionFailed(str(error)) from error


def require_models_folder(models_dir: Path) -> None:
    """Create the folder if it is missing. Raises PreconditionFailed if it is not writable."""
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=models_dir) as probe:
            # A full disk still accepts an empty file, so one block is written.
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        raise PreconditionFailed(
            f"the models folder {models_dir} is not writable: {error.strerror}; free space or correct its permissions"
        ) from error
