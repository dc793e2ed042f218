"""Version folders against the rows of trainings: each complete model has a successful row, and each success has its model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gregory.ml import artifacts
from gregory.ml.artifacts import Manifest
from gregory.ml.errors import ArtifactError
from gregory.models import PredictionRunLog
from gregory.runs.models import AlgorithmRun


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """The facts of a training in both tables. version, success: of GregoryAI's row, None if GregoryAI has deleted it.

    success: None until the training ends. artifact: the path of its model in the models folder, empty without a model.
    """

    run_id: str
    version: str | None
    success: bool | None
    artifact: str
    digest: str


def contradictions(models_dir: Path, folders: Sequence[Path]) -> list[str]:
    """One sentence for each difference between these version folders and the rows. A row without an end contradicts nothing."""
    rows = _rows()
    found = {folder.relative_to(models_dir).as_posix(): folder for folder in folders}
    problems = [problem for path, folder in found.items() for problem in _of_folder(path, folder, rows)]
    for pk, row in rows.items():
        if row.success and not row.artifact:
            problems.append(f"row {pk} is a success and names no model")
        # A run may have published the model after the list of folders was made.
        elif row.success and row.artifact not in found:
            problems += _missing(models_dir / row.artifact, pk)
    return problems


def _rows() -> dict[int, _Row]:
    """The trainings by the id of GregoryAI's row. GregoryAI may have deleted that row. The facts of this project remain."""
    ours = AlgorithmRun.objects.order_by("run_log_id").values_list("run_log_id", "run_id", "artifact_path", "artifact_digest")
    theirs = {
        pk: (version, success)
        for pk, version, success in PredictionRunLog.objects.filter(run_type="train").values_list("pk", "model_version", "success")
    }
    found = {}
    for pk, run_id, artifact, digest in ours:
        version, success = theirs.get(pk, (None, None))
        found[pk] = _Row(run_id=run_id, version=version, success=success, artifact=artifact, digest=digest)
    return found


def _missing(folder: Path, pk: int) -> list[str]:
    try:
        return [] if folder.is_dir() else [f"{folder}: missing, but row {pk} is a success"]
    except OSError as error:
        return [f"{folder}: cannot be read, but row {pk} is a success: {error}"]


def _of_folder(path: str, folder: Path, rows: dict[int, _Row]) -> list[str]:
    try:
        manifest = artifacts.read_manifest(folder)
    except (ArtifactError, OSError):
        # `verify` names the defect.
        return []
    if artifacts.misplaced(folder):
        return []
    pk = manifest.provenance.run_log_id
    row = rows.get(pk)
    if row is None:
        return [f"{folder}: a model of row {pk}, and the database has no such row"]
    if row.success is False:
        return [f"{folder}: a complete model, but its row {pk} failed; remove the folder, or keep it and train again"]
    return [f"{folder}: {difference}" for difference in _differences(path, folder, manifest, pk, row)] if row.artifact else []


def _differences(path: str, folder: Path, manifest: Manifest, pk: int, row: _Row) -> list[str]:
    stated = manifest.provenance
    if (row.run_id, row.version or stated.version, row.artifact) != (stated.run_id, stated.version, path):
        return [f"it names row {pk}, and that row has version {row.version} of run {row.run_id} at {row.artifact or 'no place'}"]
    if artifacts.digest(folder) != row.digest:
        return [f"its manifest was replaced since training (row {pk} has another sha256 of it)"]
    return []
