"""Checks of the two folders of a run: base models and models."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from gregory.launch.errors import PreconditionFailed
from gregory.launch.preconditions import obstacles, require_bundle
from gregory.ml import bundle_limits, storage
from gregory.ml.config import ALGORITHMS, TrainConfig, load_hyperparameters
from gregory.ml.errors import BundleError, ConfigError
from gregory.ml.files import is_of_volume
from gregory.output import counted
from gregory.preflight.finding import Area, Finding

_MODELS, _BASE_MODELS = Area("models"), Area("base-models")
_NO_LINKS = "has no hard links: a run copies files instead, so each further attempt takes more space and time"
_NO_LOCKS = "has no file locks: two attempts of one run that live at once are told apart by a comparison alone"
_NO_FLUSH = "cannot flush a folder: a power cut can lose a model that was just published"
# Team, subject, algorithm.
_LEVELS = 3
_ACCEPT = "if that does not matter, do nothing"


def check_models(models_dir: Path, folders: Collection[Path] | None = None) -> Iterator[Finding]:
    """Try the steps of a publication in the models folder and in these folders below it, which a publication would make.

    None: in each folder of a team, a subject and an algorithm.
    """
    if problem := storage.obstacle(models_dir, models_dir):
        yield _MODELS.error(f"no model can be published: {problem}")
        return
    yield from _features(models_dir)
    refused = list(_refused_below(models_dir, models_dir) if folders is None else _refused_of(models_dir, folders))
    yield from refused
    if not refused:
        tried = "every folder of models" if folders is None else counted(len(folders), "folder")
        absent = ", ".join(folder.as_posix() for folder in folders or () if not (models_dir / folder).is_dir())
        above = f"; not there yet, and so tried in the folder above: {absent}" if absent else ""
        yield _MODELS.ok(f"{models_dir} takes models: writing, flushing, reading back and renaming was tried in {tried}{above}")


def _refused_of(models_dir: Path, folders: Collection[Path]) -> Iterator[Finding]:
    for models, problem in obstacles(models_dir, ((models_dir / folder, folder.as_posix()) for folder in folders)):
        yield _MODELS.error(f"no model of {models} can be published: {problem}")


def _refused_below(models_dir: Path, folder: Path) -> Iterator[Finding]:
    """A finding for each folder below this one that takes no model. The folders below such a folder are not tried."""
    level = len(folder.relative_to(models_dir).parts) + 1
    try:
        folders = _folders(folder)
    except OSError as error:
        yield _MODELS.error(f"{folder} cannot be listed: {error.strerror}", "correct its owner or its permissions")
        return
    for below in folders:
        if level == _LEVELS and below.name not in ALGORITHMS:
            continue
        if problem := storage.obstacle(models_dir, below):
            yield _MODELS.error(f"no model of {below.relative_to(models_dir).as_posix()} can be published: {problem}")
        elif level < _LEVELS:
            yield from _refused_below(models_dir, below)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder. A link to a folder is one, because models can be published through it."""
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if not is_of_volume(entry.name) and entry.is_dir())


def _features(models_dir: Path) -> Iterator[Finding]:
    found = storage.features(models_dir)
    for present, lack in ((found.links, _NO_LINKS), (found.locks, _NO_LOCKS), (found.folder_flush, _NO_FLUSH)):
        if not present:
            yield _MODELS.warning(f"the file system of {models_dir} {lack}", _ACCEPT)


def check_base_models(bundle_dir: Path, hyperparameters_file: Path | None, *, digest: str) -> Iterator[Finding]:
    """Check that the bundle has all files, that they are intact, and that they can take the tokens of the hyper-parameters.

    digest: as in `verify_bundle`.
    """
    try:
        require_bundle(bundle_dir, digest=digest)
        bundle_limits.require_fit(bundle_dir, TrainConfig(hyperparameters=load_hyperparameters(hyperparameters_file)), ALGORITHMS)
    except (PreconditionFailed, BundleError, ConfigError) as error:
        yield _BASE_MODELS.error(str(error))
    else:
        yield _BASE_MODELS.ok(f"{bundle_dir} is complete and intact{', and it is the required bundle' if digest else ''}")
