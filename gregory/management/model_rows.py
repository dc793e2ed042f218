"""Version folders against their manifests and the rows of trainings: each complete model has a successful row, and each success its model.

GregoryAI's own trainer writes version folders beside them. They have no manifest, and no record of this project names them. When
GregoryAI reassigns a team, it moves the folders of its subjects. Such a model stays complete, and an operator can accept its place.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gregory.ml import artifacts, catalogue
from gregory.ml.absence import is_folder
from gregory.ml.errors import ArtifactError
from gregory.ml.manifest import Manifest
from gregory.ml.predictions import PREDICTIONS
from gregory.ml.promotion import chosen_version
from gregory.ml.pruning import read_pruned
from gregory.runs import store
from gregory.runs.store import RecordedModel

# Files that only this project writes.
OUR_FILES = {artifacts.MANIFEST, artifacts.EVALUATION, artifacts.MODEL_CARD, PREDICTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A model whose folder is at the present place of its subject, and not where its record says. Paths are in the models folder."""

    run_log_id: int
    digest: str
    origin: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: the model of row {self.run_log_id}, moved here from {self.origin} with its subject"


@dataclass(slots=True, kw_only=True)
class Comparison:
    """problems, notices: one sentence each. foreign: folders of another program. moves: models whose new place can be accepted."""

    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)


def compare(models_dir: Path, folders: Sequence[Path]) -> Comparison:
    """Compare these version folders with their manifests and with the rows. Reads every byte. A row without an end contradicts nothing."""
    models, result = store.recorded_models(), Comparison()
    found = {folder.relative_to(models_dir).as_posix(): folder for folder in folders}
    owners = {model.artifact: pk for pk, model in models.items() if model.artifact}
    for path, folder in found.items():
        # An error of one folder must not hide the problems of the others.
        try:
            if path not in owners and OUR_FILES.isdisjoint(file.name for file in folder.iterdir()):
                result.foreign.append(folder)
            else:
                _compare(path, folder, models, owners, found, result)
        except OSError as error:
            result.problems.append(f"{folder}: cannot be read: {error}")
    moved = {move.run_log_id for move in result.moves}
    for pk, model in models.items():
        if model.success and not model.artifact:
            changed = f"; another program changed it after its training failed ({model.reason}): correct it in GregoryAI's admin"
            result.problems.append(f"row {pk} is a success and names no model{changed if model.reason else ''}")
        # A run may have published the model after the list of folders was made.
        elif model.success and model.artifact not in found and pk not in moved:
            result.problems += _missing(models_dir, model, pk)
    return result


def promotion_problems(models_dir: Path) -> list[str]:
    """A sentence for each promotion that is damaged or whose version is gone, and for each damaged record of removed versions."""
    problems: list[str] = []
    with suppress(OSError):  # the caller lists the folders and has this error
        for folder in catalogue.algorithm_folders(models_dir):
            for read in (partial(chosen_version, folder.parent, folder.name), partial(read_pruned, folder)):
                try:
                    read()
                except (ArtifactError, OSError) as error:
                    problems.append(str(error))
    return problems


def _missing(models_dir: Path, model: RecordedModel, pk: int) -> list[str]:
    folder = models_dir / model.artifact
    try:
        there = is_folder(folder, follow_symlinks=True) or _is_pruned(models_dir, model)
        return [] if there else [f"{folder}: missing, but row {pk} is a success"]
    except ArtifactError as error:
        return [f"{folder}: missing, but row {pk} is a success, and it is not known whether it was pruned: {error}"]
    except OSError as error:
        return [f"{folder}: cannot be read, but row {pk} is a success: {error}"]


def _is_pruned(models_dir: Path, model: RecordedModel) -> bool:
    """Whether `models prune` removed it, at its recorded place or at the present place of its subject."""
    place = Path(model.artifact)
    folders = {place.parent, Path(model.subject) / place.parent.name} if model.subject else {place.parent}
    pruned = (one for folder in folders for one in read_pruned(models_dir / folder))
    return any((one.version, one.digest) == (place.name, model.digest) for one in pruned)


def _compare(
    path: str, folder: Path, models: dict[int, RecordedModel], owners: dict[str, int], found: dict[str, Path], result: Comparison
) -> None:
    """owners: the rows by the recorded places of their models."""
    try:
        manifest = artifacts.read_manifest(folder)
    except ArtifactError as error:
        result.problems.append(str(error))
        return
    pk = manifest.provenance.run_log_id
    model = models.get(pk)
    # The row that the manifest names may have no digest, so a manifest in the place of another model says nothing of this folder.
    if path in owners and (model is None or model.artifact != path):
        named = f"row {pk} at {artifacts.stated_place(manifest)}"
        result.problems.append(
            f"{folder}: row {owners[path]} has its model here, and the manifest names {named}; it was replaced since training"
        )
        return
    trained = model if model is not None and _is_of(manifest, model) else None
    defects = artifacts.verify(folder, recorded=trained.digest if trained else "")
    result.problems += defects
    if path != (trained.artifact if trained else artifacts.stated_place(manifest)):
        # Of several copies of a model, none is the moved one.
        unique = trained is not None and trained.artifact not in found and not defects
        _compare_place(path, folder, manifest, trained if unique else None, result)
    elif model is None or (not model.artifact and model.run_id != manifest.provenance.run_id):
        # Two databases give the same ids to different rows.
        named = f"row {pk} of run {manifest.provenance.run_id}"
        result.problems.append(f"{folder}: a model of {named}, and the database has no such row; another database may have it")
    elif model.success is False:
        result.problems.append(f"{folder}: a complete model, but its row {pk} failed; remove the folder, or keep it and train again")
    elif model.artifact and not trained:
        named = f"version {model.version} of run {model.run_id} at {model.artifact}"
        result.problems.append(f"{folder}: it names row {pk}, and that row has {named}")
    elif trained and (place := _present_place(manifest, trained)) not in ("", path):
        result.notices.append(f"{folder}: its subject is now elsewhere, so GregoryAI does not find this model; move the folder to {place}")


def _is_of(manifest: Manifest, model: RecordedModel) -> bool:
    """Whether the row has this model, at any place."""
    stated = manifest.provenance
    return bool(model.artifact) and (model.run_id, model.version or stated.version) == (stated.run_id, stated.version)


def _present_place(manifest: Manifest, model: RecordedModel) -> str:
    """The place at which GregoryAI looks for the model now. Empty if the subject was deleted."""
    return f"{model.subject}/{manifest.algorithm}/{manifest.provenance.version}" if model.subject else ""


def _compare_place(path: str, folder: Path, manifest: Manifest, moved: RecordedModel | None, result: Comparison) -> None:
    """A folder that is not at its recorded place. moved: its record, if no other folder can be the model of that record."""
    problem = artifacts.not_its_place(folder, manifest)
    if moved is None:
        result.problems.append(problem)
        return
    place = _present_place(manifest, moved)
    if path == place:
        result.moves.append(Move(run_log_id=manifest.provenance.run_log_id, digest=moved.digest, origin=moved.artifact, place=path))
        return
    remedy = f"move it to {place}, the place of its subject" if place else "its subject was deleted, so remove the folder"
    result.problems.append(f"{problem}; {remedy}")
