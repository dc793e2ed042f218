"""The trainings of runs. Each is a row of GregoryAI and a record of this project. Another program may change or delete the row.

A training has ended when this project has written its end. So GregoryAI's mark as successful ends no training, because there is no model
yet. Its mark as failed does, and so does the deletion of the row or of the subject: they override the training.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.fields.json import KT

from gregory.models import PredictionRunLog, Subject
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import Attempt, RunKind, Training
from gregory.runs.store.fencing import ENDED, PUBLISH
from gregory.runs.store.stored_spec import UNKNOWN, specified_trainings

# Records of trainings whose end is not written and not overridden.
OPEN = Q(run_log__success__isnull=True) | (Q(run_log__success=True) & ~Q(stage=ENDED))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """One training in both tables. row: None if another program deleted it. Then algorithm and version are from the specification."""

    record: AlgorithmRun
    row: PredictionRunLog | None
    algorithm: str
    version: str

    @property
    def success(self) -> bool | None:
        """The result; None while the training is open. The model of a deleted row is still a model."""
        ended = self.record.stage == ENDED
        if self.row is None:
            return ended and bool(self.record.artifact_path)
        if self.row.success:
            # Without an end of this project, or with a failure in its record, another program wrote the success.
            return None if not ended else not self.record.reason
        return self.row.success

    @property
    def reason(self) -> str:
        """The reason of a failure. Empty if the back end did not know one."""
        return self.record.reason if self.record.stage == ENDED else Reason.OVERRIDDEN


def trainings(run_ids: Collection[str], *, with_texts: bool = False) -> dict[str, list[TrainingRecord]]:
    """The trainings of each run in the order of position and attempt, in two queries, or three if a row was deleted.

    with_texts: with the error messages, which may be long. The curves are never loaded.
    """
    records = list(AlgorithmRun.objects.filter(run_id__in=run_ids).defer("evaluation").order_by("position", "pk"))
    rows = PredictionRunLog.objects if with_texts else PredictionRunLog.objects.defer("error_message")
    found = rows.in_bulk([record.run_log_id for record in records])
    names = _names(records, found)
    result: dict[str, list[TrainingRecord]] = {}
    for record in records:
        algorithm, version = names[record.run_log_id]
        training = TrainingRecord(record=record, row=found.get(record.run_log_id), algorithm=algorithm, version=version)
        result.setdefault(record.run_id, []).append(training)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The articles at the start of the ranked test part that contain 95 % of its relevant ones, and all its articles."""

    read: int
    articles: int


def readings(run_ids: Collection[str]) -> dict[int, Reading]:
    """By run log id, in one query that reads two figures of each evaluation. Evaluations of older releases have none."""
    found = AlgorithmRun.objects.filter(run_id__in=run_ids).values_list(
        "run_log_id", KT("evaluation__ranking__read__value"), KT("evaluation__test__n")
    )
    readings = ((pk, _reading(read, articles)) for pk, read, articles in found)
    return {pk: reading for pk, reading in readings if reading is not None}


def _reading(read: Any, articles: Any) -> Reading | None:
    try:
        return Reading(read=round(float(read)), articles=round(float(articles)))
    except (TypeError, ValueError, OverflowError):
        # The evaluation is a file of the run, with any content.
        return None


def deleted_training(run_id: str, algorithm: Training) -> TrainingRecord:
    """A training without a row and without a record: this project deletes both together with a subject."""
    record = AlgorithmRun(run_id=run_id, run_log_id=algorithm.run_log_id)
    return TrainingRecord(record=record, row=None, algorithm=algorithm.algorithm, version=algorithm.version)


def newest_trainings(run_id: str) -> dict[int, TrainingRecord]:
    """The latest training of each algorithm, by its position in the run. A resumed algorithm has an earlier one too."""
    return {training.record.position: training for training in trainings([run_id]).get(run_id, [])}


def subject_name(spec: Attempt) -> str:
    """The present name of the run's subject. Empty if the subject was deleted."""
    return Subject.objects.filter(pk=spec.subject.id).values_list("subject_name", flat=True).first() or ""


def open_algorithms(spec: Attempt) -> set[int]:
    """The run log ids of the open trainings of this attempt."""
    return set(_open(spec.algorithms).values_list("run_log_id", flat=True))


def in_training(spec: Attempt) -> list[Training]:
    """The algorithms of this attempt at work: at most one, unless a row was lost."""
    begun = set(_open(spec.algorithms).filter(stage__in=list(RunKind)).values_list("run_log_id", flat=True))
    return [algorithm for algorithm in spec.algorithms if algorithm.run_log_id in begun]


def being_published(spec: Attempt) -> set[int]:
    """The run log ids of the open rows whose model may have its version folder. A process that reads the models must look first."""
    return set(_open(spec.algorithms).filter(stage=PUBLISH).values_list("run_log_id", flat=True))


def unsuccessful(spec: Attempt) -> list[str]:
    """The algorithms of the run without success, of this attempt or of an earlier one."""
    newest = newest_trainings(spec.run_id).values()
    known = {training.record.run_log_id for training in newest}
    # Of a run that was deleted with its subject there is only the specification.
    gone = [algorithm.algorithm for algorithm in spec.algorithms if algorithm.run_log_id not in known]
    return [*(training.algorithm for training in newest if not training.success), *gone]


def failure_reason(spec: Attempt) -> Reason:
    """The reason that all failed algorithms of the run share. ERROR if they differ."""
    reasons = {training.reason for training in newest_trainings(spec.run_id).values() if training.success is False}
    return Reason(reasons.pop()) if len(reasons) == 1 and "" not in reasons else Reason.ERROR


def overriding(spec: Attempt, algorithms: Sequence[Training]) -> str:
    """The cause why none of these trainings can succeed: another program ended or deleted their rows. Empty if one of them can.

    A later attempt is no such cause.
    """
    # The join leaves out a run whose subject was deleted.
    if _open(algorithms).filter(run__subject__subject_slug__isnull=False).exists():
        return ""
    if not Subject.objects.filter(pk=spec.subject.id).exists():
        return f"the subject {spec.label} was deleted"
    # The role of runs shows the records of the current attempt only.
    if not TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token).exists():
        return ""
    rows = PredictionRunLog.objects.in_bulk([algorithm.run_log_id for algorithm in algorithms])
    return "; ".join(_override(algorithm.run_log_id, rows.get(algorithm.run_log_id)) for algorithm in algorithms)


def _override(run_log_id: int, row: PredictionRunLog | None) -> str:
    if row is None:
        return f"another program deleted row {run_log_id}"
    return f"another program ended row {run_log_id}: {(row.error_message or '').partition(chr(10))[0] or 'it gave no cause'}"


def _open(algorithms: Iterable[Training]) -> QuerySet[AlgorithmRun]:
    return AlgorithmRun.objects.filter(OPEN, run_log_id__in=[algorithm.run_log_id for algorithm in algorithms])


def _names(records: Sequence[AlgorithmRun], rows: dict[int, PredictionRunLog]) -> dict[int, tuple[str, str]]:
    """Algorithm and version of each training, by the id of its row."""
    names = {pk: (row.algorithm or UNKNOWN, row.model_version) for pk, row in rows.items()}
    deleted = [record for record in records if record.run_log_id not in rows]
    if not deleted:
        return names
    stored = TrainingRun.objects.filter(pk__in={record.run_id for record in deleted}).only("spec")
    specified = {pk: name for run in stored for pk, name in specified_trainings(run.spec).items()}
    for record in deleted:
        *_, algorithm, version = ("", "", *PurePosixPath(record.artifact_path).parts)
        names[record.run_log_id] = specified.get(record.run_log_id) or (algorithm, version)
    # An earlier attempt, whose row was deleted without a model, had the algorithm of the later one.
    by_position = {(record.run_id, record.position): names[record.run_log_id][0] for record in records if names[record.run_log_id][0]}
    for record in deleted:
        if not names[record.run_log_id][0]:
            names[record.run_log_id] = by_position.get((record.run_id, record.position), UNKNOWN), UNKNOWN
    return names
