"""Checks of this machine before any row is written: an intact bundle, and folders in which the models can be published."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gregory.launch.errors import PreconditionFailed
from gregory.ml import models_folder
from gregory.ml.artifacts import version_folder
from gregory.ml.base_models import verify_bundle
from gregory.ml.errors import BundleError
from gregory.runs.spec import RunSpec


def require_bundle(bundle_dir: Path) -> None:
    """Raise PreconditionFailed if the base models are missing or damaged."""
    try:
        verify_bundle(bundle_dir)
    except BundleError as error:
        raise PreconditionFailed(str(error)) from error


def require_models_folder(models_dir: Path, specs: Sequence[RunSpec] = ()) -> None:
    """Raise PreconditionFailed if the folder is missing or not writable, or the folder of an algorithm of these runs is not writable."""
    if problem := models_folder.missing(models_dir):
        raise PreconditionFailed(problem)
    try:
        with tempfile.TemporaryFile(dir=models_dir) as probe:
            # A full disk still accepts an empty file, so one block is written.
            probe.write(b"\0" * 4096)
            probe.flush()
    except OSError as error:
        raise PreconditionFailed(
            f"the models folder {models_dir} is not writable: {error.strerror}; free space or correct its permissions"
        ) from error
    for folder in _algorithm_folders(models_dir, specs):
        if problem := models_folder.obstacle(models_dir, folder):
            raise PreconditionFailed(problem)


def require_writable_by(user: str, models_dir: Path, specs: Sequence[RunSpec], *, remedy: str) -> None:
    """Raise PreconditionFailed if this user, as UID:GID, cannot publish the models. Another form of the user is not checked."""
    uid, _, gid = user.partition(":")
    if not uid.isdigit() or uid == "0":
        return
    groups = {int(gid)} if gid.isdigit() else set()
    for folder in (models_dir, *_algorithm_folders(models_dir, specs)):
        place = models_folder.nearest(models_dir, folder)
        status = place.stat()
        allowed = 0o200 if status.st_uid == int(uid) else 0o020 if status.st_gid in groups else 0o002
        if not status.st_mode & allowed:
            kind = "the models folder" if place == models_dir else "the folder"
            raise PreconditionFailed(
                f"{kind} {place} cannot be written by the containers' user {user}; chown -R {user} {models_dir}, or {remedy}"
            )


def _algorithm_folders(models_dir: Path, specs: Sequence[RunSpec]) -> Iterator[Path]:
    for spec in specs:
        for algorithm in spec.algorithms:
            team, subject = spec.team.slug, spec.subject.slug
            yield version_folder(models_dir, team=team, subject=subject, algorithm=algorithm.algorithm, version="_").parent
