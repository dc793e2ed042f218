"""The models that the records of trainings name: the place of each folder, and the sha256 of its manifest."""

from dataclasses import dataclass

from django.db import transaction

from gregory.ml.manifest import Manifest
from gregory.models import PredictionRunLog, Subject
from gregory.runs.models import AlgorithmRun
from gregory.runs.spec import RunKind
from gregory.runs.store.fencing import ENDED, record_event


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedModel:
    """The facts of a training in both tables. version, success: of GregoryAI's row, None if GregoryAI has deleted it.

    success: None until the training ends. artifact: the path of its model in the models folder, empty without a model.
    subject: team/subject by their present slugs. Empty if the subject was deleted. A run may have trained it under other slugs.
    """

    run_id: str
    version: str | None
    success: bool | None
    reason: str
    artifact: str
    digest: str
    subject: str


def recorded_models() -> dict[int, RecordedModel]:
    """The trainings by the id of GregoryAI's row, in three queries. The facts of this project outlive that row."""
    facts = ("run_log_id", "run_id", "stage", "reason", "artifact_path", "artifact_digest", "run__subject_id")
    ours = AlgorithmRun.objects.filter(run__kind=RunKind.TRAIN).order_by("run_log_id").values_list(*facts)
    columns = ("model_version", "success", "subject_id")
    theirs = {pk: row for pk, *row in PredictionRunLog.objects.filter(run_type=RunKind.TRAIN).values_list("pk", *columns)}
    slugs = {pk: f"{team}/{slug}" for pk, team, slug in Subject.objects.values_list("pk", "team__slug", "subject_slug")}
    found = {}
    for pk, run_id, stage, reason, artifact, digest, trained in ours:
        version, success, subject = theirs.get(pk, (None, None, trained))
        found[pk] = RecordedModel(
            run_id=run_id,
            version=version,
            # A success before the end of the training is a mark of GregoryAI's admin.
            success=None if success and stage != ENDED else success,
            reason=reason,
            artifact=artifact,
            digest=digest,
            subject=slugs.get(subject, ""),
        )
    return found


def recorded_digest(place: str) -> str:
    """The sha256 of the manifest that a training recorded for this place in the models folder. Empty if no training did."""
    trained = AlgorithmRun.objects.filter(run__kind=RunKind.TRAIN, artifact_path=place, stage=ENDED)
    return trained.order_by("-pk").values_list("artifact_digest", flat=True).first() or ""


def is_trained_by(subject_id: int, manifest: Manifest, digest: str) -> bool:
    """Whether a training of this subject recorded the model, at any place. digest: sha256 of the manifest."""
    stated = manifest.provenance
    trained = AlgorithmRun.objects.filter(run__kind=RunKind.TRAIN, run_id=stated.run_id, run_log_id=stated.run_log_id)
    return trained.filter(run__subject_id=subject_id, artifact_digest=digest).exists()


@transaction.atomic
def accept_place(run_log_id: int, *, digest: str, origin: str, place: str, by: str) -> bool:
    """Record another place of a model, with an event. False if its record has another place or manifest by now.

    digest: of the manifest, which still states the place of the training. origin, place: paths in the models folder.
    """
    record = AlgorithmRun.objects.filter(run_log_id=run_log_id, artifact_path=origin, artifact_digest=digest)
    for run_id in record.values_list("run_id", flat=True):
        record.update(artifact_path=place)
        record_event(run_id, "model moved", f"row {run_log_id}: {by} accepted the place {place}; the model was trained at {origin}")
        return True
    return False
