"""RUN_ID -> the next attempt of a run that ended without success, or the cause why there is none.

This module checks that no earlier attempt is at work. The run store fences the writes with tokens.
"""

from datetime import datetime

from gregory.launch.errors import LaunchError
from gregory.launch.registry import RUNNERS
from gregory.launch.runner import Status
from gregory.ml import versions
from gregory.models import Subject
from gregory.reconcile.decide import Action
from gregory.reconcile.loop import Reconciler
from gregory.runs import recovery, store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import RESUMABLE
from gregory.runs.spec import FOREIGN, AlgorithmSpec, RunKind, RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import RunRefused
from gregory.runs.volume import VolumeUnavailable
from gregory.training import planning
from gregory.training.request import UsageError

CHECKED_RUNS, NAMED_RUNS = 20, 5
COMMANDS = {RunKind.TRAIN: "train_models", RunKind.PREDICT: "predict_articles"}


def find(run_id: str, reconciler: Reconciler, kind: RunKind) -> TrainingRun:
    """The run of that id and kind. Raises UsageError, of an unknown id with the newest runs that can be resumed."""
    run = store.find_run(run_id)
    if run is not None and run.kind != kind:
        raise UsageError(f"--resume {run_id}: this run is of another kind; use: {_command(run)}")
    if run is not None:
        return run
    names = []
    for other in store.latest_runs_without_success(CHECKED_RUNS, kind):
        if other.runner not in RUNNERS:
            continue
        try:
            spec, _ = check(other, reconciler)
        except (RunRefused, LaunchError):
            continue
        names.append(f"{spec.run_id} ({spec.label})")
    raise UsageError(f"--resume {run_id}: there is no such run; can be resumed: {', '.join(names[:NAMED_RUNS]) or 'none'}")


def specified(run: TrainingRun) -> RunSpec:
    """The specification of the latest attempt. Raises RunRefused if another version of this program wrote it."""
    spec = store.attempt_of(run)
    if not isinstance(spec, RunSpec):
        remedy = "train again" if RunState(run.state).is_final else f"end it with training_runs cancel {run.run_id}, then train again"
        raise RunRefused(f"run {run.run_id} of {spec.label}: {FOREIGN}; resume it with that version, or {remedy}")
    return spec


def check(run: TrainingRun, reconciler: Reconciler) -> tuple[RunSpec, Diagnosis]:
    """The specification of the latest attempt, and its end. Raises RunRefused if the run cannot be resumed."""
    spec = specified(run)
    state, name = RunState(run.state), f"run {run.run_id} of {spec.label}"
    if state is RunState.SUCCEEDED:
        raise RunRefused(f"{name} succeeded: nothing to resume")
    runner = reconciler.runner_for(run.runner)
    (observation,) = runner.observe([store.handle_of(run)])
    timed = store.run_with_timers(run.run_id)
    if timed is None:
        raise RunRefused(f"{name} was just deleted")
    decision = reconciler.decide(timed, observation, runner)
    # If the run has ended in the run store, only a process that is alive prevents the next attempt.
    if observation.status in (Status.ALIVE, Status.PENDING) or (decision.action is not Action.FINALIZE and not state.is_final):
        raise RunRefused(f"{name} may be at work, nothing is resumed: {decision.diagnosis.headline}")
    if not Subject.objects.filter(pk=spec.subject.id, team_id=spec.team.id).exists():
        moved = Subject.objects.filter(pk=spec.subject.id).exists()
        raise RunRefused(f"{name}: its subject was {'moved to another team; train it there' if moved else 'deleted'}")
    if runner.shares_models_dir and not _has_folder(run, reconciler):
        remedy = "train again" if state.is_final else "run reconcile_runs --once and train again"
        raise RunRefused(f"{name} has no working folder, so it cannot be resumed; {remedy}")
    active = store.active_run(spec.subject.id, spec.work)
    if active is not None and active.run_id != run.run_id:
        raise RunRefused(store.refusal(spec.label, active))
    return spec, decision.diagnosis


def next_attempt(run: TrainingRun, reconciler: Reconciler, *, token: str, now: datetime, verbosity: int, triggered_by: str) -> RunSpec:
    """Open the next attempt, with this token, and return its specification. Raises RunRefused.

    If all models of the last attempt are complete, there is no next attempt. The result is then the last specification. A call whose
    answer was lost may be repeated with the run as it was read before.
    """
    if (begun := store.find_run(run.run_id)) is not None and begun.attempt_token == token:
        return RunSpec.model_validate(begun.spec)
    spec, end = check(run, reconciler)
    try:
        if not RunState(run.state).is_final and recovery.recover(spec, end, models_dir=reconciler.models_dir, read=reconciler.volume.read):
            return spec
    except VolumeUnavailable as error:
        raise RunRefused(f"run {run.run_id} of {spec.label} is not resumed: {error}") from error

    def next_version(algorithm: AlgorithmSpec) -> str:
        if spec.work is RunKind.PREDICT:
            return algorithm.version
        name = algorithm.algorithm
        recorded = planning.recorded_versions([spec.subject.id], [name])[spec.subject.id, name]
        team, subject = spec.team.slug, spec.subject.slug
        taken = planning.taken_versions(recorded, models_dir=reconciler.models_dir, team=team, subject=subject, algorithm=name)
        return versions.next_version(taken, now.date())

    return store.resume(
        spec.model_copy(update={"verbosity": verbosity}),
        token=token,
        handle=reconciler.runner_for(run.runner).owner_handle(),
        triggered_by=triggered_by,
        why=end.text,
        next_version=next_version,
    )


def hint(run: TrainingRun | None, reconciler: Reconciler, *, name: str = "it") -> str:
    """The command that resumes the run. Empty if the run cannot be resumed. name: of the run, if the message has other runs too."""
    if run is None or run.state == RunState.SUCCEEDED or run.reason not in RESUMABLE or run.runner not in RUNNERS:
        return ""
    try:
        if reconciler.runner_for(run.runner).shares_models_dir and not _has_folder(run, reconciler):
            return ""
    except RunRefused:
        return ""
    return f"resume {name} with: {_command(run)}"


def _command(run: TrainingRun) -> str:
    """The command that resumes the run."""
    return f"python manage.py {COMMANDS[RunKind(run.kind)]} --resume {run.run_id}"


def _has_folder(run: TrainingRun, reconciler: Reconciler) -> bool:
    """Whether the working folder exists. Raises RunRefused if that is not known."""
    try:
        return bool(reconciler.volume.read(store.attempt_of(run).folder(reconciler.models_dir).attempts))
    except VolumeUnavailable as error:
        raise RunRefused(f"run {run.run_id} is not resumed: {error}") from error
