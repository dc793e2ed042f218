"""Version folders: the manifest is written last, one rename publishes the folder, and `verify` checks it before use.

A folder is filled in another place of the same file system. Its manifest is written last, and all files are flushed to disk. Then
the folder gets its name. So a version folder that exists is complete. `verify` finds later damage.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from gregory.ml.config import ALGORITHMS
from gregory.ml.errors import ArtifactError, DamagedFile, VersionTaken
from gregory.ml.files import (
    MAXIMUM_FILE_BYTES,
    MAXIMUM_TEXT_BYTES,
    checksum,
    copy_and_checksum,
    flush,
    flush_tree,
    is_of_volume,
    let_all_read,
    read_text,
)
from gregory.ml.manifest import FileFacts, Manifest

MANIFEST = "manifest.json"
METRICS = "metrics.json"
EVALUATION = "evaluation.json"
MODEL_CARD = "report.html"

# Working folders are beside the models of their subject, so that publishing is one rename. No name of an algorithm starts with a dot.
RUNS_FOLDER = ".runs"


def is_folder_name(slug: str) -> bool:
    """True if a slug from the database is the name of exactly one folder."""
    return slug not in ("", ".", "..") and not slug.startswith(".") and not set(slug) & {"/", "\\", "\0"} and len(slug.encode()) <= 255


def version_folder(models_dir: Path, *, team: str, subject: str, algorithm: str, version: str) -> Path:
    """models/<team>/<subject>/<algorithm>/<version>, as the specification defines."""
    return subject_folder(models_dir, team=team, subject=subject) / algorithm / version


def subject_folder(models_dir: Path, *, team: str, subject: str) -> Path:
    """The folder of everything that belongs to a subject: its models, its pseudo-labels, and the working folders of its runs."""
    return models_dir / team / subject


def _raise(error: OSError) -> NoReturn:
    raise error


def version_folders(models_dir: Path, on_error: Callable[[OSError], object] = _raise) -> Iterator[Path]:
    """Every folder in the place of a version folder, in order of path. on_error gets the error of each folder that cannot be listed."""
    for subject in subject_folders(models_dir, on_error):
        for algorithm in _folders(subject, on_error):
            if algorithm.name in ALGORITHMS:
                yield from _folders(algorithm, on_error)


def subject_folders(models_dir: Path, on_error: Callable[[OSError], object] = _raise) -> Iterator[Path]:
    """The folder of every subject, in order of path. on_error: as in `version_folders`."""
    for team in _folders(models_dir, on_error):
        yield from _folders(team, on_error)


def _folders(folder: Path, on_error: Callable[[OSError], object]) -> list[Path]:
    """The folders of models in a folder, in order of name. A link to a folder is none. Empty if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            below = (entry for entry in entries if not is_of_volume(entry.name))
            return sorted(folder / entry.name for entry in below if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
    except OSError as error:
        on_error(error)
        return []


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Add the checksum of every file in `folder` to the manifest, write it last, and flush all files to disk."""
    files = {name: _facts(folder / name) for name in _files(folder)}
    complete = manifest.model_copy(update={"files": files})
    (folder / MANIFEST).write_text(complete.model_dump_json(indent=2) + "\n", encoding="utf-8")
    flush_tree(folder)
    return complete


def publish(folder: Path, destination: Path, *, guard: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
    """Give a complete folder its version name with one rename. It never overwrites a folder.

    Raises VersionTaken, ArtifactError for an incomplete folder, and OSError. guard: entered around the rename. Its error prevents it.
    """
    problems = verify(folder)
    if problems:
        raise ArtifactError(f"refusing to publish {folder.name}: {problems[0]}")
    let_all_read(folder)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with guard():
        if destination.exists():
            raise VersionTaken(f"{destination} already exists; versions are never overwritten")
        try:
            folder.rename(destination)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise VersionTaken(f"{destination} already exists; versions are never overwritten") from error
            raise
    flush(destination.parent)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version folder. Raises ArtifactError if it is missing or damaged, and OSError if the volume does not answer."""
    return _manifest(folder)[0]


def _manifest(folder: Path) -> tuple[Manifest, bytes]:
    """The manifest and its bytes, of one read."""
    try:
        text = read_text(folder / MANIFEST)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(f"{folder}: no {MANIFEST}: not a complete model") from error
    try:
        return Manifest.model_validate_json(text), text.encode()
    except ValidationError as error:
        raise ArtifactError(f"{folder}: {MANIFEST} is damaged: {error.errors()[0]['msg']}") from error


def digest(folder: Path) -> str:
    """sha256 of the manifest, which contains the sha256 of every other file. Raises DamagedFile and OSError."""
    return checksum(folder / MANIFEST, maximum=MAXIMUM_TEXT_BYTES)[0]


def verify(folder: Path, *, recorded: str = "", copy: Path | None = None) -> list[str]:
    """The defects of a version folder, one sentence each. Empty if nothing changed since its manifest. Reads every byte, once.

    recorded: the sha256 of the manifest in the database. Empty: not compared. copy: an empty folder that gets the compared bytes.
    Raises OSError if a file cannot be read. Then its content is not known.
    """
    try:
        manifest, content = _manifest(folder)
    except ArtifactError as error:
        return [str(error)]
    if recorded and hashlib.sha256(content).hexdigest() != recorded:
        row = manifest.provenance.run_log_id
        return [f"{folder}: its manifest was replaced since training (row {row} has another sha256 of it)"]
    if copy is not None:
        (copy / MANIFEST).write_bytes(content)
    present = set(_files(folder)) - {MANIFEST}
    problems = [f"{folder / name}: missing" for name in sorted(manifest.files.keys() - present)]
    problems += [f"{folder / name}: not in the manifest" for name in sorted(present - manifest.files.keys())]
    for name in sorted(present & manifest.files.keys()):
        try:
            # A larger file is not read.
            changed = _facts(folder / name, maximum=manifest.files[name].bytes, copy=copy and copy / name) != manifest.files[name]
        except DamagedFile as error:
            problems.append(str(error))
            continue
        if changed:
            problems.append(f"{folder / name}: changed since training (sha256 differs)")
    return problems


def stated_place(manifest: Manifest) -> str:
    """The place in the models folder at which the model was trained."""
    stated = manifest.provenance
    return f"{stated.team}/{stated.subject}/{manifest.algorithm}/{stated.version}"


def misplaced(folder: Path) -> list[str]:
    """A sentence if a version folder is not at the place in its manifest. A copy with another name is not that version."""
    try:
        manifest = read_manifest(folder)
    except ArtifactError:
        return []
    return [] if "/".join(folder.parts[-4:]) == stated_place(manifest) else [not_its_place(folder, manifest)]


def require_own(folder: Path, *, moved: Callable[[Manifest, str], bool]) -> None:
    """Raise ArtifactError if a version folder holds the model of another subject, of another algorithm, or another version.

    moved: called with the manifest and its sha256 if the manifest names another subject. True: the subject of this place trained the
    model at another place. A manifest that cannot be read is for `verify`.
    """
    try:
        manifest, content = _manifest(folder)
    except ArtifactError:
        return
    place, stated = "/".join(folder.parts[-4:]), stated_place(manifest)
    if place == stated or (place.split("/")[2:] == stated.split("/")[2:] and moved(manifest, hashlib.sha256(content).hexdigest())):
        return
    team, subject = folder.parts[-4:-2]
    raise ArtifactError(
        f"{not_its_place(folder, manifest)}; a prediction uses only models that {team}/{subject} trained: "
        f"remove the folder, or move it to {stated}"
    )


def not_its_place(folder: Path, manifest: Manifest) -> str:
    """The sentence about a version folder that is not at the place in its manifest."""
    return f"{folder}: holds {stated_place(manifest)}; it was moved or copied here"


def _files(folder: Path) -> list[str]:
    """The paths below a folder that are no folders, relative to it. A link is not followed. Raises OSError."""
    names, folders = [], [folder]
    while folders:
        # Not recursive: a process of a run can nest folders as deep as it wants.
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    names.append(path.relative_to(folder).as_posix())
    return sorted(names)


def _facts(path: Path, *, maximum: int = MAXIMUM_FILE_BYTES, copy: Path | None = None) -> FileFacts:
    maximum = min(maximum, MAXIMUM_FILE_BYTES)
    if copy is None:
        digest, size = checksum(path, maximum=maximum)
    else:
        copy.parent.mkdir(parents=True, exist_ok=True)
        digest, size = copy_and_checksum(path, copy, maximum=maximum)
    return FileFacts(sha256=digest, bytes=size)
