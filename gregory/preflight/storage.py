"""The two folders of a run: the base models it starts from, the models it leaves."""

from collections.abc import Iterator
from pathlib import Path

from gregory.launch.errors import PreconditionFailed
from gregory.launch.preconditions import require_bundle, require_models_folder
from gregory.preflight.finding import Area, Finding

_MODELS, _BASE_MODELS = Area("models"), Area("base-models")


def look_at_models(models_dir: Path) -> Iterator[Finding]:
    """Whether the models folder takes files."""
    try:
        require_models_folder(models_dir)
    except PreconditionFailed as error:
        yield _MODELS.error(str(error))
    else:
        yield _MODELS.ok(f"{models_dir} takes files")


def look_at_base_models(bundle_dir: Path) -> Iterator[Finding]:
    """Whether every file of the bundle is there and intact."""
    try:
        require_bundle(bundle_dir)
    except PreconditionFailed as error:
        yield _BASE_MODELS.error(str(error))
    else:
        yield _BASE_MODELS.ok(f"{bundle_dir} is complete and intact")
