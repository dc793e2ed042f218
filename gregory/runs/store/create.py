"""Rows before any start. One transaction opens a run, or its next attempt if it has the token of the last one."""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import or_

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from gregory.models import PredictionRunLog
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, PredictSpec, RunHandle, RunKind, RunSpec, new_token
from gregory.runs.states import RunState
from gregory.runs.store.fencing import PUBLISH, record_event
from gregory.runs.store.finish import OutcomeDetails, close_algorithms
from gregory.runs.store.queries import active_run, is_decided, refusal
from gregory.runs.store.stored_spec import UNKNOWN
from gregory.runs.store.trainings import TrainingRecord, newest_trainings

NextVersion = Callable[[AlgorithmSpec], str]


class RunRefused(Exception):
    """The run cannot be opened. Nothing was written."""


def open_run(spec: RunSpec, *, runner: str, handle: RunHandle, triggered_by: str) -> RunSpec:
    """Write the rows of one run in one transaction. Returns the specification with the ids of its run log rows.

    A repeated call finds the rows of an earlier call whose answer was lost. Raises RunRefused if the subject has an unfinished run,
    or if a version was taken after the planning.
    """
    try:
        return _alone(spec, lambda: _insert(spec, runner=runner, handle=handle, triggered_by=triggered_by))
    except IntegrityError:
        run = TrainingRun.objects.filter(pk=spec.run_id, attempt_token=spec.attempt_token).first()
        if run is None:
            raise
        return RunSpec.model_validate(run.spec)


def resume(spec: RunSpec, *, token: str, handle: RunHandle, triggered_by: str, why: str, next_version: NextVersion) -> RunSpec:
    """Open the next attempt of a run for an operator. Returns its specification. spec: the last attempt, which has ended.

    An open row continues in the new attempt. A failed row stays failed, and its algorithm gets a new row with the version from
    `next_version`. So does that of a deleted row without a model. An algorithm that succeeded is omitted. token: of the new attempt.
    why: the end of the last attempt, if its row does not have it. Raises RunRefused if another attempt began in the meantime, or if the
    subject has another unfinished run.
    """

    def write() -> RunSpec:
        run = _locked(spec)
        if run is None or run.state == RunState.SUCCEEDED:
            raise RunRefused(f"run {spec.run_id} of {spec.label} was just resumed or ended by another process")
        record_event(spec.run_id, "resumed", _how_it_ended(run, run.detail or why, run.log_tail))
        # The operator has read the reason. So the back end may remove the run as often as a new one.
        following = _supersede(spec.model_copy(update={"publish_only": False}), handle, token=token, retries=0)
        algorithms = []
        for position, (training, algorithm) in sorted(_newest(spec).items()):
            if training is not None and training.success is None:
                algorithms.append(_continue(training, algorithm))
            elif training is None or not training.success:
                renewed = algorithm.model_copy(update={"version": next_version(algorithm)})
                algorithms += _insert_rows(following, {position: renewed}, triggered_by)
        return _with(following, algorithms)

    return _alone(spec, write)


def retry(
    spec: RunSpec,
    end: Diagnosis,
    *,
    handle: RunHandle,
    counts: bool,
    without: Iterable[AlgorithmOutcome] = (),
    publish_only: bool = False,
    log_tail: str = "",
) -> RunSpec:
    """Open the next attempt of an unfinished run, for its open rows only. Returns its specification.

    end: of the last attempt. counts: whether this attempt counts towards the limit. without: the outcomes of rows that the same
    transaction closes first. publish_only: the next attempt only publishes models. An announced end is then that of the last attempt only,
    and so is one that `is_decided` does not hold for.
    Raises RunRefused if another attempt began in the meantime, or if the run has an end or another announced end.
    """

    def write() -> RunSpec:
        run = _locked(spec)
        if run is None or RunState(run.state).is_final or (run.reason and not publish_only and is_decided(run, Reason(run.reason))):
            raise RunRefused(f"run {spec.run_id} of {spec.label} was just retried or ended by another process")
        close_algorithms(spec, [(outcome, OutcomeDetails()) for outcome in without])
        record_event(
            spec.run_id,
            "retried",
            _how_it_ended(run, f"{end.reason}: {end.headline}" if end.reason else end.headline, log_tail or end.log_tail),
        )
        renewed = spec.model_copy(update={"publish_only": publish_only})
        following = _supersede(renewed, handle, token=new_token(), retries=run.retries + counts)
        newest = sorted(_newest(spec).items())
        return _with(following, [_continue(training, known) for _, (training, known) in newest if training and training.success is None])

    return _alone(spec, write)


@transaction.atomic
def record_idle(spec: PredictSpec, *, triggered_by: str) -> None:
    """Write the rows of a prediction that found no article. It needs no run."""
    rows = _new_rows(spec, spec.algorithms, triggered_by)
    PredictionRunLog.objects.bulk_create(rows)
    PredictionRunLog.objects.filter(pk__in=[row.pk for row in rows]).update(success=True, run_finished=Now())


def _locked(spec: RunSpec) -> TrainingRun | None:
    return TrainingRun.objects.select_for_update().filter(pk=spec.run_id, attempt_token=spec.attempt_token).first()


def _newest(spec: RunSpec) -> dict[int, tuple[TrainingRecord | None, AlgorithmSpec]]:
    """The latest training of each position in the run. Of a record that was deleted there is only the specification."""
    found = newest_trainings(spec.run_id)
    positions = {training.record.run_log_id: position for position, training in found.items()}
    known: dict[int, tuple[TrainingRecord | None, AlgorithmSpec]] = {
        positions.get(algorithm.run_log_id, number): (None, algorithm) for number, algorithm in enumerate(spec.algorithms)
    }
    for position, training in found.items():
        # The row of an earlier attempt was deleted, and nothing names its algorithm.
        if training.algorithm == UNKNOWN:
            continue
        facts = {"algorithm": training.algorithm, "run_log_id": training.record.run_log_id, "version": training.version}
        known[position] = (training, AlgorithmSpec.model_validate(facts))
    return known


def _supersede(spec: RunSpec, handle: RunHandle, *, token: str, retries: int) -> RunSpec:
    """Replace the last attempt by a new one. From then on the last one writes nothing."""
    following = spec.model_copy(update={"attempt": spec.attempt + 1, "attempt_token": token})
    TrainingRun.objects.filter(pk=spec.run_id).update(
        attempt=following.attempt,
        attempt_token=following.attempt_token,
        claim_key="",
        retries=retries,
        state=RunState.PENDING,
        reason="",
        detail="",
        host=handle.host,
        external_name=handle.name,
        external_uid=handle.uid,
        image_digest="",
        exit_code=None,
        queued_at=Now(),
        submitted_at=None,
        started_at=None,
        heartbeat_at=Now(),
        progress_at=None,
        finished_at=None,
        log_tail="",
        node="",
        waiting_for="",
        unknown_since=None,
        missing_since=None,
        cancelled_by="",
    )
    return following


def _continue(training: TrainingRecord, algorithm: AlgorithmSpec) -> AlgorithmSpec:
    """Keep the row for the next attempt, in which its training has not begun.

    A model that may be published stays marked until an attempt has read the models folder: this one may end before its process begins.
    """
    AlgorithmRun.objects.filter(pk=training.record.pk).exclude(stage=PUBLISH).update(stage="", progress={})
    return algorithm


def _with(spec: RunSpec, algorithms: list[AlgorithmSpec]) -> RunSpec:
    if not algorithms:
        raise RunRefused(f"run {spec.run_id} of {spec.label} has no algorithm left")
    return _store(spec.model_copy(update={"algorithms": tuple(algorithms)}))


def _how_it_ended(run: TrainingRun, why: str, log_tail: str) -> str:
    """The text of an attempt's end, for the event. The next attempt replaces its values in the row."""
    times = (("queued", run.queued_at), ("started", run.started_at), ("finished", run.finished_at))
    when = ", ".join(f"{name} {at:%Y-%m-%d %H:%M:%S} UTC" for name, at in times if at is not None)
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    node = f", node {run.node}" if run.node else ""
    end = ", ".join(word for word in (run.state, run.reason) if word and not why.startswith(f"{word}:"))
    tail = f"\n{log_tail}" if log_tail else ""
    return f"attempt {run.attempt} ended: {end}: {why} ({when}{code}{node}){tail}"


def _insert(spec: RunSpec, *, runner: str, handle: RunHandle, triggered_by: str) -> RunSpec:
    TrainingRun.objects.create(
        run_id=spec.run_id,
        subject_id=spec.subject.id,
        kind=spec.work,
        runner=runner,
        attempt=spec.attempt,
        attempt_token=spec.attempt_token,
        spec={},
        host=handle.host,
        external_name=handle.name,
        external_uid=handle.uid,
        queued_at=Now(),
        heartbeat_at=Now(),
    )
    return _with(spec, _insert_rows(spec, dict(enumerate(spec.algorithms)), triggered_by))


def _insert_rows(spec: RunSpec, algorithms: Mapping[int, AlgorithmSpec], triggered_by: str) -> list[AlgorithmSpec]:
    """Write the row of each training in GregoryAI's table and in ours. Returns the algorithms with their ids. algorithms: by position."""
    if spec.work is RunKind.TRAIN:
        _require_new_versions(spec, algorithms.values())
    rows = PredictionRunLog.objects.bulk_create(_new_rows(spec, algorithms.values(), triggered_by))
    positions = zip(algorithms, rows, strict=True)
    AlgorithmRun.objects.bulk_create(AlgorithmRun(run_id=spec.run_id, run_log=row, position=position) for position, row in positions)
    return [algorithm.model_copy(update={"run_log_id": row.pk}) for algorithm, row in zip(algorithms.values(), rows, strict=True)]


def _new_rows(spec: RunSpec, algorithms: Iterable[AlgorithmSpec], triggered_by: str) -> list[PredictionRunLog]:
    return [
        PredictionRunLog(
            team_id=spec.team.id,
            subject_id=spec.subject.id,
            model_version=algorithm.version,
            algorithm=algorithm.algorithm,
            run_type=spec.work,
            success=None,
            triggered_by=triggered_by[:100],
        )
        for algorithm in algorithms
    ]


def _require_new_versions(spec: RunSpec, algorithms: Iterable[AlgorithmSpec]) -> None:
    versions = [Q(algorithm=algorithm.algorithm, model_version=algorithm.version) for algorithm in algorithms]
    trained = PredictionRunLog.objects.filter(subject_id=spec.subject.id, run_type=RunKind.TRAIN).exclude(success=False)
    if taken := trained.filter(reduce(or_, versions)).first():
        raise RunRefused(f"{spec.label}: version {taken.model_version} of {taken.algorithm} was just taken; run the command again")


def _store(spec: RunSpec) -> RunSpec:
    TrainingRun.objects.filter(pk=spec.run_id).update(spec=spec.model_dump(mode="json"))
    return spec


def _alone(spec: RunSpec, write: Callable[[], RunSpec]) -> RunSpec:
    """Write in one transaction. A violation of the constraint of one unfinished run becomes RunRefused."""
    try:
        with transaction.atomic():
            return write()
    except IntegrityError as error:
        active = active_run(spec.subject.id, spec.work)
        if active is None or active.run_id == spec.run_id:
            raise
        raise RunRefused(refusal(spec.label, active)) from error
