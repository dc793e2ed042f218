"""Version folders: sealed by a manifest, published by one rename, verified before use.

A folder is filled elsewhere on the same file system, its manifest is written last, everything is flushed to disk, and
only then the folder gets its name. So a version folder that exists is complete; `verify` finds out whether it still is.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from gregory.ml.config import ALGORITHMS, Algorithm, TrainConfig
from gregory.ml.errors import ArtifactError
from gregory.ml.files import flush, flush_tree, sha256
from gregory.ml.text import UNSTAMPED_VERSION

MANIFEST = "manifest.json"
METRICS = "metrics.json"
EVALUATION = "evaluation.json"
MODEL_CARD = "report.html"

# Runs in progress live beside the models, so that publishing stays a rename. No slug starts with a dot.
RUNS_FOLDER = ".runs"
PSEUDO_LABELS_FOLDER = "pseudo_labels"

# Another CPU or batch size moves a probability by 1e-7 to 1e-5; the silent weight damage that probes are there to
# catch (facts: h5 files read by another TensorFlow) moved them by tenths.
PROBE_TOLERANCE = 1e-3


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileFacts(_Value):
    """What a file must be."""

    sha256: str
    bytes: int


class Probe(_Value):
    """Texts and the probabilities the model gave them before it was sealed."""

    texts: tuple[str, ...]
    probabilities: tuple[float, ...]
    tolerance: float = PROBE_TOLERANCE


class PseudoLabelRound(_Value):
    """How many texts a round asked about, and how many of its answers were accepted, per class."""

    asked: int
    relevant: int
    not_relevant: int


class PseudoLabelFacts(_Value):
    """Where pseudo-labels come from. pool: unlabelled articles; file: the CSV file with each of them, relative to the models folder."""

    pool: int
    rounds: tuple[PseudoLabelRound, ...]
    file: str


class DataFacts(_Value):
    """Which rows: the window, what was left out of it and why, and examples per part and class.

    parts: as labelled by people; pseudo_labelled: how many texts joined the training part beside them.
    """

    cutoff: datetime | None
    window: str
    labelled: int
    title_only: int
    duplicates: int
    conflicts: int
    pseudo_labelled: int
    pseudo_labels: PseudoLabelFacts | None = None
    parts: dict[str, dict[str, int]]
    fingerprint: str
    text_version: int = UNSTAMPED_VERSION


class Provenance(_Value):
    """What the run's door knows and the training library does not."""

    team: str
    subject: str
    version: str
    run_id: str
    attempt: int
    run_log_id: int
    cutoff: datetime | None
    window: str
    image_digest: str


class Manifest(_Value):
    """manifest.json: which rows, which weights, which threshold, and the sha256 of every other file."""

    schema_number: Literal[1] = 1
    algorithm: Algorithm
    provenance: Provenance
    created_at: datetime
    config: TrainConfig
    data: DataFacts
    base_models: dict[str, dict[str, str]]
    libraries: dict[str, str]
    threads: int
    compute: dict[str, str | int] = {}
    warnings: tuple[str, ...]
    probe: Probe
    files: dict[str, FileFacts] = {}


def is_folder_name(slug: str) -> bool:
    """Whether a slug from the database can be one folder of a model's path and nothing else."""
    return slug not in ("", ".", "..") and not slug.startswith(".") and not set(slug) & {"/", "\\", "\0"} and len(slug.encode()) <= 255


def version_folder(models_dir: Path, *, team: str, subject: str, algorithm: Algorithm, version: str) -> Path:
    """models/<team>/<subject>/<algorithm>/<version>, as the spec lays it out."""
    return models_dir / team / subject / algorithm / version


def stages_folder(models_dir: Path, run_id: str) -> Path:
    """Where a run's stages work, and what an attempt leaves to the next."""
    return models_dir / RUNS_FOLDER / run_id / "stages"


def outcome_file(models_dir: Path, run_id: str) -> Path:
    """What an attempt of the run leaves of its end, beside its stages, for whoever closes its rows if it cannot."""
    return models_dir / RUNS_FOLDER / run_id / "outcome.json"


def version_folders(models_dir: Path) -> Iterator[Path]:
    """Every folder that stands where a version stands, in order of path."""
    for algorithm_folder in sorted(models_dir.glob("[!.]*/[!.]*/*")):
        if algorithm_folder.is_dir() and algorithm_folder.name in ALGORITHMS:
            yield from sorted(path for path in algorithm_folder.iterdir() if path.is_dir())


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Add the checksum of every file in `folder` to the manifest, write it last, and flush all of it to disk."""
    files = {name: _facts(folder / name) for name in _files(folder)}
    sealed = manifest.model_copy(update={"files": files})
    (folder / MANIFEST).write_text(sealed.model_dump_json(indent=2) + "\n", encoding="utf-8")
    flush_tree(folder)
    return sealed


def publish(folder: Path, destination: Path) -> None:
    """Give a sealed folder its version name by one rename. Raises ArtifactError; never overwrites."""
    problems = verify(folder)
    if problems:
        raise ArtifactError(f"refusing to publish {folder.name}: {problems[0]}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.exists():
        raise ArtifactError(f"{destination} already exists; versions are never overwritten")
    try:
        folder.rename(destination)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ArtifactError(f"{destination} already exists; versions are never overwritten") from error
        raise ArtifactError(f"cannot publish {destination}: {error.strerror}") from error
    flush(destination.parent)


def keep_pseudo_labels(csv_file: Path, models_dir: Path, *, team: str, subject: str) -> Path:
    """Give a pseudo-label file its place in the spec, <YYYYMMDD_HHMMSS>[_n].csv, once; returns where."""
    folder = models_dir / team / subject / PSEUDO_LABELS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    # A run that died between this and its next step is continued before it: its file is there already.
    for kept in folder.iterdir():
        if kept.samefile(csv_file):
            return kept
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S")
    names = chain([stamp], (f"{stamp}_{suffix}" for suffix in count(2)))
    while True:
        target = folder / f"{next(names)}.csv"
        # The hard link appears complete or not at all, and refuses a name that is taken.
        with suppress(FileExistsError):
            os.link(csv_file, target)
            return target


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version folder. Raises ArtifactError where there is none or it is not one."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"{folder}: no {MANIFEST}: not a complete model") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ArtifactError(f"{folder}: {MANIFEST} is damaged: {error.errors()[0]['msg']}") from error


def digest(folder: Path) -> str:
    """sha256 of the manifest, which pins every other file."""
    return sha256(folder / MANIFEST)


def verify(folder: Path) -> list[str]:
    """What is wrong with a version folder, a sentence each; empty when it is as it was sealed. Reads every byte."""
    try:
        manifest = read_manifest(folder)
    except ArtifactError as error:
        return [str(error)]
    present = set(_files(folder)) - {MANIFEST}
    problems = [f"{folder / name}: missing" for name in sorted(manifest.files.keys() - present)]
    problems += [f"{folder / name}: not in the manifest" for name in sorted(present - manifest.files.keys())]
    for name in sorted(present & manifest.files.keys()):
        if _facts(folder / name) != manifest.files[name]:
            problems.append(f"{folder / name}: changed since training (sha256 differs)")
    return problems


def misplaced(folder: Path) -> list[str]:
    """Whether a version folder stands where its manifest says: a copy under another name is not that version."""
    try:
        manifest = read_manifest(folder)
    except ArtifactError:
        return []
    told = (manifest.provenance.team, manifest.provenance.subject, manifest.algorithm, manifest.provenance.version)
    if folder.parts[-4:] == told:
        return []
    return [f"{folder}: holds {'/'.join(told)}; it was moved or copied here"]


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _facts(path: Path) -> FileFacts:
    return FileFacts(sha256=sha256(path), bytes=path.stat().st_size)
