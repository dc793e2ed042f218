"""What a dead run had finished and could not say is said in its stead: from its report, its outcome file, or its version folders.

By whoever finds it dead, or by its own next attempt, which may be the only one to see the folders.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gregory.ml import artifacts
from gregory.ml.errors import ArtifactError
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunOutcome, RunSpec
from gregory.runs.states import RunState


def replay(spec: RunSpec, report: str, *, models_dir: Path) -> str:
    """Close what the attempt itself says has ended; why it gave up before its end, if it says that.

    report: what it left on its machine, if its machine has that; its outcome file, where this one sees it, has errors whole.
    """
    told = [outcome for outcome in (_parse(report, spec), _parse(_outcome_file(spec, models_dir), spec)) if outcome is not None]
    ends = {algorithm.run_log_id: algorithm for outcome in told for algorithm in outcome.algorithms}
    still_open = store.open_algorithms(spec)
    known = [ends[run_log_id] for run_log_id in sorted(still_open & ends.keys())]
    store.close_algorithms(spec, [(outcome, _evidence(outcome, models_dir)) for outcome in known])
    return next((outcome.interrupted for outcome in told if outcome.interrupted), "")


def recover(spec: RunSpec, end: Diagnosis, *, models_dir: Path) -> bool:
    """Close as successes what a dead run had published and not reported; whether that completes the run, which then ends well."""
    if close_published(spec, models_dir=models_dir) or store.unsuccessful(spec):
        return False
    store.finish_run(spec, RunState.SUCCEEDED, replace(end, reason=None).after("every model was complete"))
    return True


def close_published(spec: RunSpec, *, models_dir: Path) -> set[int]:
    """An open row whose complete model stands in its place is a success: only the report was not finished. Those that stay open."""
    still_open = store.open_algorithms(spec)
    found = (published(spec, algorithm, models_dir) for algorithm in spec.algorithms if algorithm.run_log_id in still_open)
    proofs = [proof for proof in found if proof is not None]
    store.close_algorithms(spec, proofs)
    return still_open - {outcome.run_log_id for outcome, _ in proofs}


def _parse(text: str, spec: RunSpec) -> RunOutcome | None:
    """The outcome of exactly this attempt; a machine may show the end of a log in its place, and a file may be another attempt's."""
    try:
        outcome = RunOutcome.model_validate_json(text)
    except ValidationError:
        return None
    return outcome if (outcome.run_id, outcome.attempt) == (spec.run_id, spec.attempt) else None


def _outcome_file(spec: RunSpec, models_dir: Path) -> str:
    try:
        return artifacts.outcome_file(models_dir, spec.run_id).read_text(encoding="utf-8")
    except OSError:
        return ""


def published(spec: RunSpec, algorithm: AlgorithmSpec, models_dir: Path) -> tuple[AlgorithmOutcome, store.OutcomeDetails] | None:
    """The outcome that a complete version folder of exactly this row proves, if there is one."""
    folder = artifacts.version_folder(
        models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    manifest = _manifest(folder)
    if manifest is None or manifest.provenance.run_log_id != algorithm.run_log_id or manifest.provenance.run_id != spec.run_id:
        return None
    if artifacts.verify(folder):
        return None
    outcome = AlgorithmOutcome(
        algorithm=algorithm.algorithm,
        run_log_id=algorithm.run_log_id,
        version=algorithm.version,
        success=True,
        metrics=json.loads((folder / artifacts.METRICS).read_text(encoding="utf-8")),
        warnings=manifest.warnings,
        artifact=folder.relative_to(models_dir).as_posix(),
        digest=artifacts.digest(folder),
    )
    return outcome, _evidence(outcome, models_dir)


def _evidence(outcome: AlgorithmOutcome, models_dir: Path) -> store.OutcomeDetails:
    """What the model's folder says beside, where this machine sees the folder that the outcome names."""
    folder = models_dir / outcome.artifact
    manifest = _manifest(folder) if outcome.artifact else None
    if manifest is None or artifacts.digest(folder) != outcome.digest:
        return store.OutcomeDetails()
    return store.OutcomeDetails(evaluation=_evaluation(folder), data=manifest.data.model_dump(mode="json"), compute=dict(manifest.compute))


def _evaluation(folder: Path) -> dict[str, Any]:
    evaluation: dict[str, Any] = json.loads((folder / artifacts.EVALUATION).read_text(encoding="utf-8"))
    return evaluation


def _manifest(folder: Path) -> artifacts.Manifest | None:
    try:
        return artifacts.read_manifest(folder)
    except ArtifactError:
        return None
