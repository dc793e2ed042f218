"""The result of one training: publish its model, or describe its failure."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gregory.ml import artifacts, models_folder, pseudo_label_file, renaming, storage
from gregory.ml.errors import ArtifactError, VersionTaken
from gregory.ml.files import read_json
from gregory.ml.manifest import PseudoLabelFacts
from gregory.ml.pseudo_label_file import keep_pseudo_labels
from gregory.ml.stages import contract
from gregory.runs import recovery, store
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, TrainSpec
from job.fence import SUPERSEDED, Fence, Superseded
from job.stage_runner import read_result
from job.supervise import StageFailed, Usage

Result = tuple[AlgorithmOutcome, store.OutcomeDetails]


NextVersion = Callable[[AlgorithmSpec], AlgorithmSpec | None]


def publish_model(
    spec: TrainSpec,
    algorithm: AlgorithmSpec,
    out: Path,
    *,
    models_dir: Path,
    usage: Usage,
    resources: dict[str, Any],
    next_version: NextVersion,
    fence: Fence,
) -> Result:
    """Move the model of a finished train stage into its version folder. Raises StageFailed if that is not possible, and Superseded.

    The model may be that of an earlier row, which failed because the model could not be published. Raises OSError if the models folder
    does not tell whether the model was published.

    next_version: gives the row another version, because a folder has the name of its version. None if the row is no longer of this attempt.
    """
    destination = artifacts.version_folder(
        models_dir, team=spec.team.slug, subject=spec.subject.slug, algorithm=algorithm.algorithm, version=algorithm.version
    )
    result = read_result(out, contract.TrainResult)
    model = out / contract.MODEL_FOLDER
    try:
        renaming.state_row(model, algorithm.run_log_id, algorithm.version)
        artifacts.publish(model, destination, guard=fence.held)
    except VersionTaken:
        if (published := recovery.published(spec, algorithm, models_dir)) is not None:
            return published
        # The database lost its last rows, and the model of one of them is there.
        renamed = next_version(algorithm)
        if renamed is None:
            raise Superseded(SUPERSEDED) from None
        return publish_model(
            spec, renamed, out, models_dir=models_dir, usage=usage, resources=resources, next_version=next_version, fence=fence
        )
    except (ArtifactError, OSError) as error:
        # An earlier attempt that lost the database may have continued and published the model of this row, or the error came after the
        # rename.
        if (published := recovery.published(spec, algorithm, models_dir)) is not None:
            return published
        if isinstance(error, ArtifactError):
            raise StageFailed(Reason.ARTIFACT, str(error), traceback.format_exc(), usage) from error
        raise _refused(spec, models_dir, destination.parent, error, kept=model, what="the trained model", usage=usage) from error
    outcome = AlgorithmOutcome(
        algorithm=algorithm.algorithm,
        run_log_id=algorithm.run_log_id,
        version=algorithm.version,
        success=True,
        metrics=result.metrics,
        warnings=result.warnings,
        artifact=destination.relative_to(models_dir).as_posix(),
        digest=artifacts.digest(destination),
        seconds=usage.seconds,
        peak_bytes=usage.peak_bytes,
    )
    evaluation = read_json(destination / artifacts.EVALUATION)
    data = result.data.model_dump(mode="json")
    return outcome, store.OutcomeDetails(evaluation=evaluation, resources=resources, data=data, compute=result.compute)


def defect_of_kept_model(algorithm: AlgorithmSpec, out: Path) -> str:
    """The defect for which the model of an earlier attempt cannot be published. Empty if it can, or if only the publication will tell."""
    model = out / contract.MODEL_FOLDER
    try:
        # First, because an attempt that ended within this change left a model card that differs from the manifest.
        renaming.state_row(model, algorithm.run_log_id, algorithm.version)
        return next(iter(artifacts.verify(model)), "")
    except (ArtifactError, FileNotFoundError) as error:
        return str(error)
    except OSError:
        return ""


def failed_outcome(algorithm: AlgorithmSpec, failure: StageFailed, resources: dict[str, Any]) -> Result:
    """The outcome of an algorithm with a failed stage."""
    outcome = AlgorithmOutcome(
        algorithm=algorithm.algorithm,
        run_log_id=algorithm.run_log_id,
        version=algorithm.version,
        success=False,
        reason=failure.reason,
        error=failure.error,
        seconds=failure.usage.seconds,
        peak_bytes=failure.usage.peak_bytes,
    )
    return outcome, store.OutcomeDetails(resources=resources)


def publish_pseudo_labels(spec: TrainSpec, out: Path, models_dir: Path, fence: Fence) -> PseudoLabelFacts:
    """Give the file of pseudo-labels its place in the folder of the subject, once. Return the facts for the manifests.

    Raises Superseded, and StageFailed if the file system refuses the file.
    """
    result = read_result(out, contract.PseudoLabelResult)
    labels = out / contract.PSEUDO_LABELS_CSV
    try:
        with fence.held():
            csv_file = keep_pseudo_labels(labels, models_dir, team=spec.team.slug, subject=spec.subject.slug)
    except OSError as error:
        place = models_dir / spec.team.slug / spec.subject.slug / pseudo_label_file.FOLDER
        nothing = Usage(seconds=0.0, peak_bytes=0)
        raise _refused(spec, models_dir, place, error, kept=labels, what="the file of pseudo-labels", usage=nothing) from error
    return PseudoLabelFacts(pool=result.pool, rounds=result.rounds, file=csv_file.relative_to(models_dir).as_posix())


def _refused(spec: TrainSpec, models_dir: Path, folder: Path, error: OSError, *, kept: Path, what: str, usage: Usage) -> StageFailed:
    """The error of a finished stage whose result `what` did not get its place in `folder`. The next attempt takes it from `kept`."""
    cause = storage.refused(models_dir, models_folder.nearest(models_dir, folder), error)
    resume = f"then: python manage.py train_models --resume {spec.run_id}"
    message = f"{cause}, {resume}; it publishes {what}, which is kept in {kept}, and trains nothing again"
    return StageFailed(Reason.STORAGE, message, message, usage)
