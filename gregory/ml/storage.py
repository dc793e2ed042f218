"""The file system of the models: what a run does there, tried before with small files, and the remedies for its refusals.

Permissions, mounts, links and quotas decide together whether a model can be published. So the steps of a publication are tried
themselves. A trial leaves nothing, and no reader takes its hidden folders for a team or a version.
"""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gregory.ml import models_folder
from gregory.ml.artifacts import RUNS_FOLDER
from gregory.ml.files import flush, flush_tree, link_or_copy, try_lock

_TRIAL = ".trial-"
# A full disk still accepts an empty file.
_CONTENT = b"\1" * 4096
_REMEDIES = {
    errno.EACCES: "correct its owner or its permissions",
    errno.EPERM: "correct its owner, its permissions or its attributes (lsattr)",
    errno.EROFS: "mount it read-write",
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space, or raise the quota",
    errno.EXDEV: "a model is renamed into it, which is impossible between two mounts: keep the folder of a subject on one mount, without "
    "links to others",
}


def refused(models_dir: Path, folder: Path, error: OSError) -> str:
    """The sentence about the existing folder that refused a model, with the remedy."""
    if not folder.is_dir():
        return f"{folder} is not a folder; move it away"
    name = "the models folder" if folder == models_dir else "the folder"
    remedy = _REMEDIES.get(error.errno or 0, "check its file system")
    return f"{name} {folder} cannot take a model: {error.strerror or error}; {remedy}"


def write_trial(folder: Path) -> Path:
    """A small model in the folder, written and flushed, with which a rename can be tried. Raises OSError."""
    model = folder / "model"
    model.mkdir()
    (model / "file").write_bytes(_CONTENT)
    flush_tree(model)
    return model


def obstacle(models_dir: Path, folder: Path) -> str:
    """The cause why this process cannot publish a model in `folder`, below the models folder, with the remedy. Empty if it can."""
    if problem := models_folder.missing(models_dir):
        return problem
    place = models_folder.nearest(models_dir, folder)
    where = start = _start(models_dir, folder)
    try:
        with _trial_folder(start) as begin:
            model = write_trial(begin)
            where = place
            with _trial_folder(place) as end:
                # With the names of the missing folders, which the file system may refuse.
                version = end / folder.relative_to(place) / "version"
                version.parent.mkdir(parents=True, exist_ok=True)
                model.rename(version)
                if (version / "file").read_bytes() != _CONTENT:
                    return f"the folder {place} returns other bytes than were written; check its file system"
    except OSError as error:
        return refused(models_dir, where, error)
    return ""


def unwritable(models_dir: Path, folder: Path) -> str:
    """The cause why this process cannot write files into an existing folder, with the remedy. Empty if it can."""
    if problem := models_folder.missing(models_dir):
        return problem
    try:
        with _trial_folder(folder) as trial:
            write_trial(trial)
    except OSError as error:
        return refused(models_dir, folder, error)
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the file system of the working folders can do. A run works without each of them, with less speed or less protection."""

    links: bool
    locks: bool
    folder_flush: bool


def features(models_dir: Path) -> Features:
    """The features of the file system, tried in the models folder. Raises OSError."""
    with _trial_folder(models_dir) as folder:
        file = folder / "file"
        file.write_bytes(_CONTENT)
        with file.open("rb+") as stream:
            locks = try_lock(stream.fileno()) is not None
        return Features(links=link_or_copy(file, folder / "second"), locks=locks, folder_flush=flush(folder))


def _start(models_dir: Path, folder: Path) -> Path:
    """The folder in which the models of `folder` begin: that of the working folders of its subject, which are made on demand."""
    parts = folder.relative_to(models_dir).parts
    runs = models_dir.joinpath(*parts[:2], RUNS_FOLDER)
    return models_folder.nearest(models_dir, runs if len(parts) > 1 else folder)


@contextmanager
def _trial_folder(place: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_TRIAL, dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
