"""The results of a terminated run that are not in its rows yet: from its outcome report, its outcome file or its version folders.

A reconciler writes them, or the next attempt of the run, which may be the only process that can read the folders.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError, DamagedFile
from gregory.ml.files import is_storable, read_json, read_text
from gregory.ml.manifest import Manifest
from gregory.runs import report_key, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.spec import AlgorithmOutcome, Attempt, PredictSpec, RunOutcome, RunSpec, Training
from gregory.runs.states import RunState
from gregory.runs.volume import Read, directly


def replay(spec: Attempt, report: str, *, models_dir: Path, read: Read = directly) -> str:
    """Close the rows that the attempt reported as ended. Returns the cause for which it stopped early, else an empty text.

    Raises OSError before any write if `read` cannot read the models volume: then nothing proves that there is no result.

    report: the outcome report that the back end kept. The outcome file, if this process can read it, has the complete errors.
    A report must be signed with the key of the process that claimed the attempt. A success needs the published model, if this process
    can read the models of the run. A row whose model was being published stays open and gets the stage `publish`.
    """
    spec, refused = store.with_recorded_versions(spec), list[str]()
    reports = _believed(spec, (report, read(partial(_outcome_file, spec, models_dir))), refused)
    ends = {algorithm.run_log_id: algorithm for outcome in reports for algorithm in outcome.algorithms}
    still_open = store.open_algorithms(spec)
    known = [ends[run_log_id] for run_log_id in sorted(still_open & ends.keys())]
    proven = [read(partial(_proven, spec, outcome, models_dir)) for outcome in known]
    for outcome, proof in zip(known, proven, strict=True):
        if proof is None:
            refused.append(f"it names a success of {outcome.algorithm} {outcome.version}, and there is no such model")
    # After the last read, because a pass that cannot read is repeated.
    for cause in refused:
        _refuse(spec, cause)
    store.close_algorithms(spec, [proof for proof in proven if proof is not None])
    for run_log_id in still_open & {-entry for entry in ends if entry < 0}:
        store.begin_publishing(spec, run_log_id)
    return next((outcome.interrupted for outcome in reports if outcome.interrupted), "")


def recover(spec: Attempt, end: Diagnosis, *, models_dir: Path, read: Read = directly) -> bool:
    """Close the rows of published models as successes. True if every algorithm has then succeeded. The run then ends as succeeded."""
    if close_published(spec, models_dir=models_dir, read=read) or store.unsuccessful(spec):
        return False
    store.finish_run(spec, RunState.SUCCEEDED, replace(end, reason=None).after("every model was complete"))
    return True


def close_published(spec: Attempt, *, models_dir: Path, read: Read = directly) -> set[int]:
    """Close the open rows of published models as successes: only their report was not finished. Returns the ids of the rows still open.

    Raises OSError as `replay`.
    """
    spec = store.with_recorded_versions(spec)
    still_open = store.open_algorithms(spec)
    found = (read(partial(published, spec, algorithm, models_dir)) for algorithm in spec.algorithms if algorithm.run_log_id in still_open)
    recovered = [recovery for recovery in found if recovery is not None]
    store.close_algorithms(spec, recovered)
    return still_open - {outcome.run_log_id for outcome, _ in recovered}


def _believed(spec: Attempt, texts: tuple[str, str], refused: list[str]) -> list[RunOutcome]:
    """The reports of exactly this attempt, without their signatures: that of the back end, then the outcome file.

    refused: gets the cause for each report that is not believed.
    """
    key, reports = store.claim_key(spec), []
    for text, is_file in zip(texts, (False, True), strict=True):
        signed = _parse(text, spec)
        if signed is None:
            continue
        outcome = report_key.verify(signed, key) if key else report_key.without_signature(signed)
        if outcome is None:
            refused.append("it has not the signature of the process that claimed the run")
        elif key is None and is_file:
            # No process claimed the run, so none trained. It can only have reported why it never did. Other runs can write this file.
            reports.append(outcome.model_copy(update={"algorithms": ()}))
        else:
            reports.append(outcome)
    return reports


def _proven(spec: Attempt, outcome: AlgorithmOutcome, models_dir: Path) -> tuple[AlgorithmOutcome, store.OutcomeDetails] | None:
    """What a reported outcome makes of its row. None if it is a success and its model is missing or another one."""
    if not outcome.success or isinstance(spec, PredictSpec):
        # A prediction leaves no folder. The signature of the report is the proof.
        return outcome, store.OutcomeDetails()
    algorithm = next(known for known in spec.algorithms if known.run_log_id == outcome.run_log_id)
    proof = published(spec, algorithm, models_dir)
    if proof is not None:
        found, details = proof
        return found.model_copy(update={"seconds": outcome.seconds, "peak_bytes": outcome.peak_bytes}), details
    folder = _folder(spec, algorithm, models_dir)
    if not isinstance(spec, RunSpec) and _has_digest(folder, outcome.digest):
        # The manifest is the reported one, and only the version that wrote it can read it.
        return outcome, store.OutcomeDetails()
    place = folder.relative_to(models_dir).as_posix()
    if spec.folder(models_dir).exists() or outcome.artifact not in ("", place):
        return None
    return outcome, store.OutcomeDetails()


def _refuse(spec: Attempt, cause: str) -> None:
    store.record_event(spec.run_id, "report refused", f"the outcome report of attempt {spec.attempt} is not believed: {cause}")


def _has_digest(folder: Path, digest: str) -> bool:
    try:
        return artifacts.digest(folder) == digest
    except (DamagedFile, FileNotFoundError, NotADirectoryError):
        return False


def _folder(spec: Attempt, algorithm: Training, models_dir: Path) -> Path:
    return artifacts.version_folder(
        models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )


def _parse(text: str, spec: Attempt) -> RunOutcome | None:
    """The outcome of exactly this attempt, else None. The text may be the end of a log, and the file that of another attempt."""
    try:
        outcome = RunOutcome.model_validate_json(text)
    except ValidationError:
        return None
    known = (outcome.run_id, outcome.attempt) == (spec.run_id, spec.attempt)
    return outcome if known and is_storable([[algorithm.metrics, algorithm.warnings] for algorithm in outcome.algorithms]) else None


def _outcome_file(spec: Attempt, models_dir: Path) -> str:
    try:
        return read_text(spec.folder(models_dir).left_outcome())
    except (FileNotFoundError, NotADirectoryError, DamagedFile):
        return ""


def published(spec: Attempt, algorithm: Training, models_dir: Path) -> tuple[AlgorithmOutcome, store.OutcomeDetails] | None:
    """The outcome that the complete version folder of exactly this row proves. None if there is no such folder. Raises OSError."""
    folder = _folder(spec, algorithm, models_dir)
    manifest = _manifest(folder)
    if manifest is None or manifest.provenance.run_log_id != algorithm.run_log_id or manifest.provenance.run_id != spec.run_id:
        return None
    if artifacts.verify(folder) or artifacts.misplaced(folder):
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
    except (DamagedFile, FileNotFoundError, ValidationError):
        # The manifest is that of the run, and so is the damage: a foreign program wrote these files.
        return None
    data = manifest.data.model_dump(mode="json")
    if not is_storable([manifest.warnings, data, manifest.compute]):
        return None
    return outcome, store.OutcomeDetails(evaluation=_evaluation(folder), data=data, compute=dict(manifest.compute))


def _evaluation(folder: Path) -> dict[str, Any]:
    """The curves for people. Empty if they are damaged, because no decision depends on them."""
    try:
        evaluation = read_json(folder / artifacts.EVALUATION)
    except (DamagedFile, FileNotFoundError):
        return {}
    return evaluation if isinstance(evaluation, dict) else {}


def _manifest(folder: Path) -> Manifest | None:
    try:
        return artifacts.read_manifest(folder)
    except ArtifactError:
        return None
