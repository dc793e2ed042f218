"""Checks of the two folders of a run: base models and models."""

from collections.abc import Iterator
from pathlib import Path

from gregory.launch.errors import PreconditionFailed
from gregory.launch.preconditions import require_bundle, require_models_folder
from gregory.preflight.finding import Area, Finding

_MODELS, _BASE_MODELS = Area("models"), Area("base-models")


def check_models(models_dir: Path) -> Iterator[Finding]:
    """Check that the models folder is writable."""
    try:
        require_models_folder(models_dir)
    except PreconditionFailed as error:
        yield _MODELS.error(str(error))
    else:
        yield _MODELS.ok(f"{models_dir} is writable")


def check_base_models(bundle_dir: Path) -> Iterator[Finding]:
    """Check that the bundle has all files and that they are intact."""
    try:
        require_bundle(bundle_dir)
    except PreconditionFailed as error:
        yield _BASE_MODELS.error(str(error))
    else:
        yield _BASE_MODELS.ok(f"{bundle_dir} is complete and intact")
