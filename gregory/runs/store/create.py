"""Rows before anything starts: a run is opened, or its next attempt, in one transaction that demands the token of the last."""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import or_

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from gregory.ml.config import Algorithm
from gregory.models import PredictionRunLog
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import AlgorithmRun, TrainingRun
from gregory.runs.spec import AlgorithmOutcome, AlgorithmSpec, RunHandle, RunSpec, new_token
from gregory.runs.states import RunState
from gregory.runs.store.fencing import record_event
from gregory.runs.store.finish import OutcomeDetails, close_algorithms
from gregory.runs.store.queries import active_run, newest_rows, refusal

NextVersion = Callable[[Algorithm], str]


class RunRefused(Exception):
    """The run cannot be opened; nothing was written."""


def open_run(spec: RunSpec, *, runner: str, handle: RunHandle, triggered_by: str) -> RunSpec:
    """Write the rows of one run in one transaction; the spec with its run log ids.

    Raises RunRefused where the subject has an unfinished run, or where a version was taken since it was planned.
    """
    return _alone(spec, lambda: _insert(spec, runner=runner, handle=handle, triggered_by=triggered_by))


def resume(spec: RunSpec, *, handle: RunHandle, triggered_by: str, why: str, next_version: NextVersion) -> RunSpec:
    """Open the next attempt of a run whose attempt `spec` has ended, because somebody asks for it; the new attempt's spec.

    A row that is still open goes on in the new attempt. A row that failed stays failed: its algorithm gets a new row under
    the version that `next_version` names. What succeeded is left out. `why` says how the attempt is known to have ended where
    its row does not. Raises RunRefused where another attempt began in the meantime or the subject has another unfinished run.
    """

    def write() -> RunSpec:
        run = _locked(spec)
        if run is None or run.state == RunState.SUCCEEDED:
            raise RunRefused(f"run {spec.run_id} of {spec.label} was resumed or ended by somebody else a moment ago")
        record_event(spec.run_id, "resumed", _how_it_ended(run, run.detail or why, run.log_tail))
        # Whoever asks for it has looked at the reasons: its machine may take it away as often as a new run.
        following = _supersede(spec, handle, retries=0)
        algorithms = []
        for position, (row, algorithm) in sorted(_newest(spec).items()):
            if row is not None and row.run_log.success is None:
                algorithms.append(_go_on(row, algorithm))
            elif row is None or not row.run_log.success:
                renewed = algorithm.model_copy(update={"version": next_version(algorithm.algorithm)})
                algorithms += _insert_rows(following, {position: renewed}, triggered_by)
        return _with(following, algorithms)

    return _alone(spec, write)


def retry(
    spec: RunSpec, end: Diagnosis, *, handle: RunHandle, counts: bool, without: Iterable[AlgorithmOutcome] = (), log_tail: str = ""
) -> RunSpec:
    """Open the next attempt of a run that nobody has ended, for its open rows alone; the new attempt's spec.

    counts: whether this is one of the attempts that are bounded. without: what is closed first, in the same transaction, so that
    nobody sees the one without the other. Raises RunRefused where another attempt began in the meantime, or the run was ended, or
    somebody asked for its end.
    """

    def write() -> RunSpec:
        run = _locked(spec)
        if run is None or RunState(run.state).is_final or run.reason:
            raise RunRefused(f"run {spec.run_id} of {spec.label} was tried again or ended by somebody else a moment ago")
        close_algorithms(spec, [(outcome, OutcomeDetails()) for outcome in without])
        record_event(
            spec.run_id,
            "retried",
            _how_it_ended(run, f"{end.reason}: {end.headline}" if end.reason else end.headline, log_tail or end.log_tail),
        )
        following = _supersede(spec, handle, retries=run.retries + counts)
        rows = _newest(spec)
        return _with(following, [_go_on(row, known) for _, (row, known) in sorted(rows.items()) if row and row.run_log.success is None])

    return _alone(spec, write)


def _locked(spec: RunSpec) -> TrainingRun | None:
    return TrainingRun.objects.select_for_update().filter(pk=spec.run_id, attempt_token=spec.attempt_token).first()


def _newest(spec: RunSpec) -> dict[int, tuple[AlgorithmRun | None, AlgorithmSpec]]:
    """Per place in the run, the row that counts. One that GregoryAI has deleted is known from the specification alone."""
    places = dict(AlgorithmRun.objects.filter(run_id=spec.run_id).values_list("run_log_id", "position"))
    known: dict[int, tuple[AlgorithmRun | None, AlgorithmSpec]] = {
        places.get(algorithm.run_log_id, number): (None, algorithm) for number, algorithm in enumerate(spec.algorithms)
    }
    for position, row in newest_rows(spec.run_id).items():
        log = row.run_log
        facts = {"algorithm": log.algorithm, "run_log_id": log.pk, "version": log.model_version}
        known[position] = (row, AlgorithmSpec.model_validate(facts))
    return known


def _supersede(spec: RunSpec, handle: RunHandle, *, retries: int) -> RunSpec:
    """Put a new attempt in the place of the last one: from here on that one writes nothing."""
    following = spec.model_copy(update={"attempt": spec.attempt + 1, "attempt_token": new_token()})
    TrainingRun.objects.filter(pk=spec.run_id).update(
        attempt=following.attempt,
        attempt_token=following.attempt_token,
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


def _go_on(row: AlgorithmRun, algorithm: AlgorithmSpec) -> AlgorithmSpec:
    """The same row in the next attempt, in which it has not begun yet."""
    AlgorithmRun.objects.filter(pk=row.pk).update(stage="", progress={})
    return algorithm


def _with(spec: RunSpec, algorithms: list[AlgorithmSpec]) -> RunSpec:
    if not algorithms:
        raise RunRefused(f"run {spec.run_id} of {spec.label} has nothing left to train")
    return _store(spec.model_copy(update={"algorithms": tuple(algorithms)}))


def _how_it_ended(run: TrainingRun, why: str, log_tail: str) -> str:
    """One attempt's end in words, before the next attempt takes its place in the row."""
    times = (("queued", run.queued_at), ("started", run.started_at), ("finished", run.finished_at))
    when = ", ".join(f"{name} {at:%Y-%m-%d %H:%M:%S} UTC" for name, at in times if at is not None)
    code = "" if run.exit_code is None else f", exit code {run.exit_code}"
    node = f", node {run.node}" if run.node else ""
    end = ", ".join(word for word in (run.state, run.reason) if word)
    tail = f"\n{log_tail}" if log_tail else ""
    return f"attempt {run.attempt} ended: {end}: {why} ({when}{code}{node}){tail}"


def _insert(spec: RunSpec, *, runner: str, handle: RunHandle, triggered_by: str) -> RunSpec:
    TrainingRun.objects.create(
        run_id=spec.run_id,
        subject_id=spec.subject.id,
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
    """Each training's row in GregoryAI's table and in ours, by its place in the run; the algorithms with their ids."""
    versions = [Q(algorithm=algorithm.algorithm, model_version=algorithm.version) for algorithm in algorithms.values()]
    trained = PredictionRunLog.objects.filter(subject_id=spec.subject.id, run_type="train")
    if taken := trained.filter(reduce(or_, versions)).first():
        raise RunRefused(f"{spec.label}: version {taken.model_version} of {taken.algorithm} was taken a moment ago; run the command again")
    rows = PredictionRunLog.objects.bulk_create(
        PredictionRunLog(
            team_id=spec.team.id,
            subject_id=spec.subject.id,
            model_version=algorithm.version,
            algorithm=algorithm.algorithm,
            run_type="train",
            success=None,
            triggered_by=triggered_by[:100],
        )
        for algorithm in algorithms.values()
    )
    places = zip(algorithms, rows, strict=True)
    AlgorithmRun.objects.bulk_create(AlgorithmRun(run_id=spec.run_id, run_log=row, position=position) for position, row in places)
    return [algorithm.model_copy(update={"run_log_id": row.pk}) for algorithm, row in zip(algorithms.values(), rows, strict=True)]


def _store(spec: RunSpec) -> RunSpec:
    TrainingRun.objects.filter(pk=spec.run_id).update(spec=spec.model_dump(mode="json"))
    return spec


def _alone(spec: RunSpec, write: Callable[[], RunSpec]) -> RunSpec:
    """Write in one transaction; the constraint of one unfinished run per subject becomes a refusal in words."""
    try:
        with transaction.atomic():
            return write()
    except IntegrityError as error:
        active = active_run(spec.subject.id)
        if active is None or active.run_id == spec.run_id:
            raise
        raise RunRefused(refusal(spec.label, active)) from error
