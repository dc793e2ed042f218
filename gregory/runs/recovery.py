"""The results of a terminated run that are not in its rows yet: from its outcome report, its outcome file or its version folders.

A reconciler writes them, or the next attempt of the run, which may be the only process that can read the folders.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError, DamagedFile
from gregory.ml.files import read_json, read_text
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunOutcome, RunSpec
from gregory.runs.states import RunState


def replay(spec: RunSpec, report: str, *, models_dir: Path) -> str:
    """Close the rows that the attempt reported as ended. Returns the cause for which it stopped early, else an empty text.

    report: the outcome report that the back end kept. The outcome file, if this process can read it, has the complete errors.
    """
    reports = [outcome for outcome in (_parse(report, spec), _parse(_outcome_file(spec, models_dir), spec)) if outcome is not None]
    ends = {algorithm.run_log_id: algorithm for outcome in reports for algorithm in outcome.algorithms}
    still_open = store.open_algorithms(spec)
    known = [ends[run_log_id] for run_log_id in sorted(still_open & ends.keys())]
    store.close_algorithms(spec, [(outcome, _details(outcome, models_dir)) for outcome in known])
    return next((outcome.interrupted for outcome in reports if outcome.interrupted), "")


def recover(spec: RunSpec, end: Diagnosis, *, models_dir: Path) -> bool:
    """Close the rows of published models as successes. True if every algorithm has then succeeded. The run then ends as succeeded."""
    if close_published(spec, models_dir=models_dir) or store.unsuccessful(spec):
        return False
    store.finish_run(spec, RunState.SUCCEEDED, replace(end, reason=None).after("every model was complete"))
    return True


def close_published(spec: RunSpec, *, models_dir: Path) -> set[int]:
    """Close the open rows of published models as successes: only their report was not finished. Returns the ids of the rows still open."""
    still_open = store.open_algorithms(spec)
    found = (published(spec, algorithm, models_dir) for algorithm in spec.algorithms if algorithm.run_log_id in still_open)
    recovered = [recovery for recovery in found if recovery is not None]
    store.close_algorithms(spec, recovered)
    return still_open - {outcome.run_log_id for outcome, _ in recovered}


def _parse(text: str, spec: RunSpec) -> RunOutcome | None:
    """The outcome of exactly this attempt, else None. The text may be the end of a log, and the file that of another attempt."""
    try:
        outcome = RunOutcome.model_validate_json(text)
    except ValidationError:
        return None
    return outcome if (outcome.run_id, outcome.attempt) == (spec.run_id, spec.attempt) else None


def _outcome_file(spec: RunSpec, models_dir: Path) -> str:
    try:
        return read_text(artifacts.outcome_file(models_dir, spec.run_id))
    except (FileNotFoundError, NotADirectoryError, DamagedFile):
        return ""


def published(spec: RunSpec, algorithm: AlgorithmSpec, models_dir: Path) -> tuple[AlgorithmOutcome, store.OutcomeDetails] | None:
    """The outcome that the complete version folder of exactly this row proves. None if there is no such folder. Raises OSError."""
    folder = artifacts.version_folder(
        models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    manifest = _manifest(folder)
    if manifest is None or manifest.provenance.run_log_id != algorithm.run_log_id or manifest.provenance.run_id != spec.run_id:
        return None
    if artifacts.verify(folder):
        return None
    try:
        outcome = AlgorithmOutcome(
            algorithm=algorithm.algorithm,
            run_log_id=algorithm.run_log_id,
            version=algorithm.version,
            success=True,
            metrics=read_json(folder / artifacts.METRICS),
            warnings=manifest.warnings,
            artifact=folder.relative_to(models_dir).as_posix(),
            digest=artifacts.digest(folder),
        )
        return outcome, _details(outcome, models_dir)
    except (DamagedFile, ValidationError):
        # The manifest is that of the run, and so is the damage: a foreign program wrote these files.
        return None


def _details(outcome: AlgorithmOutcome, models_dir: Path) -> store.OutcomeDetails:
    """The details in the version folder of the outcome. Empty if the folder is missing or damaged. Raises OSError."""
    folder = models_dir / outcome.artifact
    manifest = _manifest(folder) if outcome.artifact else None
    if manifest is None or artifacts.digest(folder) != outcome.digest:
        return store.OutcomeDetails()
    return store.OutcomeDetails(evaluation=_evaluation(folder), data=manifest.data.model_dump(mode="json"), compute=dict(manifest.compute))


def _evaluation(folder: Path) -> dict[str, Any]:
    """The curves for people. Empty if they are damaged, because no decision depends on them."""
    try:
        evaluation = read_json(folder / artifacts.EVALUATION)
    except (DamagedFile, FileNotFoundError):
        return {}
    return evaluation if isinstance(evaluation, dict) else {}


def _manifest(folder: Path) -> artifacts.Manifest | None:
    try:
        return artifacts.read_manifest(folder)
    except ArtifactError:
        return None
