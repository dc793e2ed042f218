"""The two folders of a run: the base models it starts from, the models it leaves."""

from collections.abc import Iterator
from pathlib import Path

from gregory.launch.errors import NotReady
from gregory.launch.preconditions import require_bundle, require_models_folder
from gregory.preflight.finding import Finding, Verdict


def look_at_models(models_dir: Path) -> Iterator[Finding]:
    """Whether the models folder takes files."""
    try:
        require_models_folder(models_dir)
    except NotReady as error:
        yield Finding("models", Verdict.ERROR, str(error))
    else:
        yield Finding("models", Verdict.OK, f"{models_dir} takes files")


def look_at_base_models(bundle_dir: Path) -> Iterator[Finding]:
    """Whether every file of the bundle is there and intact."""
    try:
        require_bundle(bundle_dir)
    except NotReady as error:
        yield Finding("base-models", Verdict.ERROR, str(error))
    else:
        yield Finding("base-models", Verdict.OK, f"{bundle_dir} is complete and intact")
