"""The version of an open row, which changes if a folder of that name exists."""

from collections.abc import Collection
from typing import TypeVar

from django.db import transaction
from django.db.models.functions import Now

from gregory.ml import versions
from gregory.models import PredictionRunLog
from gregory.runs.spec import AlgorithmSpec, Attempt, RunSpec
from gregory.runs.store.fencing import current, record_event
from gregory.runs.store.trainings import open_algorithms

Specified = TypeVar("Specified", bound=Attempt)


def with_recorded_versions(spec: Specified) -> Specified:
    """The specification with the versions in the rows. A start of the attempt may have changed one, and may not write the specification."""
    ids = [algorithm.run_log_id for algorithm in spec.algorithms]
    recorded = dict(PredictionRunLog.objects.filter(pk__in=ids).values_list("pk", "model_version"))
    algorithms = (a.model_copy(update={"version": recorded.get(a.run_log_id, a.version)}) for a in spec.algorithms)
    return spec.model_copy(update={"algorithms": tuple(algorithms)})


def take_next_version(spec: RunSpec, algorithm: AlgorithmSpec, folders: Collection[str]) -> AlgorithmSpec | None:
    """Give an open row the next version that no row and no folder has, because a folder has the name of the version.

    folders: the names of the version folders. None if the row has ended, or if another attempt is the current one.
    """
    with transaction.atomic():
        # This update locks the run's row.
        if not current(spec).update(heartbeat_at=Now()):
            return None
        row = PredictionRunLog.objects.filter(pk=algorithm.run_log_id).first()
        if row is None or algorithm.run_log_id not in open_algorithms(spec):
            return None
        trained = PredictionRunLog.objects.filter(subject_id=row.subject_id, algorithm=row.algorithm, run_type="train")
        recorded = set(trained.exclude(pk=row.pk).values_list("model_version", flat=True))
        renamed = algorithm.model_copy(update={"version": versions.following(algorithm.version, recorded.union(folders))})
        if row.model_version != renamed.version:
            PredictionRunLog.objects.filter(pk=row.pk).update(model_version=renamed.version)
            cause = f"a folder of version {algorithm.version} exists that is not of row {row.pk}"
            record_event(spec.run_id, "version taken", f"{algorithm.algorithm} gets version {renamed.version}: {cause}")
    return renamed


@transaction.atomic
def use_version(spec: RunSpec, algorithm: AlgorithmSpec, version: str) -> AlgorithmSpec:
    """State the version with which a prediction works in its open row."""
    row = PredictionRunLog.objects.filter(pk=algorithm.run_log_id, success__isnull=True)
    if current(spec).update(heartbeat_at=Now()):
        row.exclude(model_version=version).update(model_version=version)
    return algorithm.model_copy(update={"version": version})
