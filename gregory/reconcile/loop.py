"""The reconciler: it observes all unfinished runs, with one call per runner, and acts on the differences.

Any number of them may work at the same time. Every write needs the token of the observed attempt, so only the first of several equal
decisions is written. A second submission of an attempt starts nothing.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from django.db import DataError, IntegrityError

from gregory.launch.errors import LaunchError
from gregory.launch.registry import RUNNERS
from gregory.launch.runner import Observation, Runner, Status
from gregory.reconcile.decide import Action, Decision, RunSnapshot, decide
from gregory.reconcile.finalize import finalize_run
from gregory.reconcile.one_pass import Pass
from gregory.reconcile.results import ReconcileResult, ResultKind, isolated
from gregory.reconcile.submissions import Submissions
from gregory.reconcile.terminate import PendingTermination, close_queued, terminate_runs
from gregory.runs import store
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import Attempt, RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import ObservedStatus, RunRefused, RunWithTimers
from gregory.runs.volume import Volume, VolumeUnavailable

# The remains of an unsuccessful run are kept this long for a resume or an inspection.
KEEP_FAILED_SECONDS = 7 * 24 * 3600
# A back end answers within this time, unless it cannot be reached or one of its webhooks is stuck.
SUBMISSION_SECONDS = 5.0

RunnerFor = Callable[[str], Runner]


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """The runners and limits of one installation.

    runner_for: name -> runner. Raises LaunchError. stale_after: seconds without a heartbeat after which an unknown run counts as lost.
    """

    runner_for: RunnerFor
    models_dir: Path
    stale_after: int

    @cached_property
    def volume(self) -> Volume:
        """The models volume. This process may not have it."""
        return Volume(self.models_dir)

    @cached_property
    def submissions(self) -> Submissions:
        """The requests of this reconciler. One object must make all its passes, so that it submits no run twice at the same time."""
        return Submissions()

    def reconcile_once(
        self, only: Collection[str] | None = None, *, submission_seconds: float = SUBMISSION_SECONDS
    ) -> Iterator[ReconcileResult]:
        """Reconcile all unfinished runs, or those with these ids. Yields one result per run.

        submission_seconds: the time for which the pass waits for the answers to its submissions.
        """
        yield from Pass(reconciler=self).results(only, submission_seconds=submission_seconds)

    def decide(self, timed: RunWithTimers, observation: Observation, runner: Runner, *, state: RunState | None = None) -> Decision:
        """The action for one run. state: if the caller knows a later state than the run store."""
        snapshot = self._snapshot(timed, observation, runner, state=state)
        decision = decide(observation, snapshot)
        # A foreign run gets fewer actions and no other. So only an action needs the specification, whose check takes a millisecond.
        if decision.action is Action.NONE or isinstance(store.attempt_of(timed.run), RunSpec):
            return decision
        return decide(observation, replace(snapshot, foreign=True))

    def record(self, seen: Iterable[tuple[RunWithTimers, Observation]]) -> dict[str, bool]:
        """Record observations, equal ones together. Returns by run id whether there was a change. Runs that are left out need `apply`."""
        submitted = [(timed.run, _observed(observation)) for timed, observation in seen if timed.run.state != RunState.PENDING]
        try:
            return store.record_observations(submitted)
        except (DataError, IntegrityError):
            # The database refuses a value of one run. It is found when each is written alone.
            return {}

    def apply(
        self, timed: RunWithTimers, observation: Observation, runner: Runner, *, recorded: bool | None = None
    ) -> ReconcileResult | Action:
        """Record the observation of one run, and finalize it if it has certainly terminated.

        Any other action is returned: a submission takes time, and the evidence of the others must be observed again.
        recorded: from `record`. None: the observation is not recorded yet.
        """
        run = timed.run
        decision = self.decide(timed, observation, runner)
        if recorded is None:
            recorded = run.state != RunState.PENDING and store.record_observation(run, _observed(observation))
        # A run that its back end reports as terminated never lives again. Another process may submit or observe all others.
        certain = observation.status is Status.TERMINATED and not observation.missing and run.state != RunState.PENDING
        if decision.action is Action.FINALIZE and certain:
            return self.finalize(run, store.attempt_of(run), decision.diagnosis, runner, report=observation.report)
        if decision.action is not Action.NONE:
            return decision.action
        detail = decision.diagnosis.headline
        if observation.status is Status.PENDING:
            detail = f"waiting: {detail}"
        unknown = observation.status is Status.UNKNOWN
        if unknown and run.unknown_since:
            detail = f"{detail}; unknown since {run.unknown_since:%Y-%m-%d %H:%M:%S} UTC"
        return ReconcileResult(run=run, action=ResultKind.NOTED if recorded else ResultKind.LEFT, detail=detail, unknown=unknown)

    def finalize(
        self,
        run: TrainingRun,
        spec: Attempt,
        end: Diagnosis,
        runner: Runner,
        *,
        report: str,
        holds: Callable[[], bool] = lambda: True,
    ) -> ReconcileResult:
        """Write the end of a terminated run. report: the outcome report that its back end kept. holds: as in `finalize_run`."""
        read = self.volume.read
        write = partial(finalize_run, run, spec, end, runner, report=report, models_dir=self.models_dir, read=read, holds=holds)
        return isolated(run, write)

    def cancel(self, run: TrainingRun, *, by: str) -> ReconcileResult:
        """End one run for an operator. A run that finishes first keeps its own end. Raises RunRefused if the run has ended.

        Raises LaunchError if its runner is not available. Then nothing was written.
        """
        spec = store.attempt_of(run)
        # First, because a runner that is not available raises LaunchError. Then no end was announced.
        runner = self.runner_for(run.runner)
        if not _announce_cancel(spec, by) and not store.is_unfinished(spec):
            raise RunRefused(f"run {run.run_id} of {spec.label} has ended, or has another attempt; list it again")
        timed = store.run_with_timers(run.run_id)
        if timed is None or not store.is_unfinished(spec):
            return ReconcileResult(run=run, action=ResultKind.LEFT, detail="it ended by itself meanwhile")
        announced = Diagnosis(summary=timed.run.detail, reason=Reason(timed.run.reason))
        if timed.run.state == RunState.PENDING:
            if store.being_published(spec):
                # An earlier attempt may have published a model and ended before it wrote the row.
                return self.finalize(timed.run, spec, announced, runner, report="")
            return close_queued(timed.run, spec)
        pending = PendingTermination(run=timed.run, spec=spec, diagnosis=announced)
        (result,) = terminate_runs([pending], runner, models_dir=self.models_dir, read=self.volume.read)
        return result

    def cancel_all(self, runner: Runner, *, by: str) -> Iterator[ReconcileResult]:
        """End all unfinished runs of one runner: first all in the run store, then on the back end. Yields one result per run."""
        queued = {run.run_id: run for run in _unfinished_of(runner) if run.state == RunState.PENDING}
        end = Diagnosis(summary=f"cancelled by {by} before it was started", reason=Reason.CANCELLED)
        # All of them in few statements, so that a signal or an error leaves no part of them queued.
        store.end_queued({run.run_id: run.attempt_token for run in queued.values()}, RunState.CANCELLED, end, cancelled_by=by)
        submitted = []
        for run in _unfinished_of(runner):
            _announce_cancel(store.attempt_of(run), by)
            submitted.append(run.run_id)
            queued.pop(run.run_id, None)
        for run in queued.values():
            yield ReconcileResult(run=run, action=ResultKind.CLOSED, reason=end.reason, detail=end.headline)
        if submitted:
            yield from self.reconcile_once(submitted)

    def collect_garbage(self, *, keep_seconds: float = KEEP_FAILED_SECONDS) -> Iterator[str]:
        """Remove the remains of runs that ended longer ago than this, and those without a row. Yields the name of each.

        Raises OSError for files that cannot be removed, after all others.
        """
        # All runs work in the folders that the local runner removes. A runner of another version is not in this program.
        failures = []
        for name in sorted({"local", *store.runners_used()} & RUNNERS.keys()):
            try:
                # An unreachable back end is cleaned in a later pass.
                with suppress(LaunchError):
                    yield from self.runner_for(name).collect_garbage(
                        _Ids(store.unfinished_ids),
                        recent=_Ids(partial(store.recently_ended, keep_seconds)),
                        keep_seconds=keep_seconds,
                        now=store.time_of_database(),
                    )
            except OSError as error:
                failures.append(str(error))
        if failures:
            raise OSError("; ".join(failures))

    def _snapshot(self, timed: RunWithTimers, observation: Observation, runner: Runner, *, state: RunState | None = None) -> RunSnapshot:
        run, stored = timed.run, RunState(timed.run.state)
        # The models folder is read only if the decision depends on it.
        reads_models = observation.missing and stored is RunState.RUNNING
        return RunSnapshot(
            state=state or stored,
            heard=timed.heard,
            silent=timed.silent,
            idle=timed.idle,
            missing=timed.missing,
            # The reason of an ended run announces nothing.
            announced=Diagnosis(summary=run.detail, reason=Reason(run.reason)) if run.reason and not stored.is_final else None,
            durable=runner.durable,
            models_not_visible=reads_models and not self._sees_folder(store.attempt_of(run)),
            stale_after=self.stale_after,
            stall_after=runner.stall_seconds,
        )

    def _sees_folder(self, spec: Attempt) -> bool:
        try:
            return self.volume.read(spec.folder(self.models_dir).exists)
        except VolumeUnavailable:
            return False


class _Ids(Collection[str]):
    """The ids of runs, read at the first use.

    By then the runner has made its list. So a run that is opened and submitted between the two is in both.
    """

    def __init__(self, read: Callable[[], Iterable[str]]) -> None:
        self._read = read

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self._read())

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _unfinished_of(runner: Runner) -> list[TrainingRun]:
    return [timed.run for timed in store.unfinished_runs() if timed.run.runner == runner.name]


def _announce_cancel(spec: Attempt, by: str) -> bool:
    return store.announce_end(spec, Diagnosis(summary=f"cancelled by {by}", reason=Reason.CANCELLED), cancelled_by=by)


def _observed(observation: Observation) -> ObservedStatus:
    return ObservedStatus(
        known=observation.status is not Status.UNKNOWN,
        missing=observation.missing,
        waiting_for=observation.text if observation.status is Status.PENDING else None,
        node=observation.node,
    )
