"""One pass over the unfinished runs: first the ends, then the terminations. Submissions have their own threads.

An end must not wait for slower work, and an observation grows old meanwhile. So before a termination, and before an end without certain
evidence, the run is read and observed again, and the action is decided again.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from gregory.launch.runner import Observation, Runner
from gregory.reconcile.decide import Action
from gregory.reconcile.results import ReconcileResult, ResultKind, failed, isolated
from gregory.reconcile.submissions import Answer, Request, submission_of
from gregory.reconcile.submit import Submission
from gregory.reconcile.terminate import PendingTermination, terminate_runs
from gregory.runs import store
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunSpec
from gregory.runs.states import RunState
from gregory.runs.store import RunWithTimers

if TYPE_CHECKING:
    from gregory.reconcile.loop import Reconciler

# A statement holds the rows of so many runs for some milliseconds.
RECORDED_TOGETHER = 500
NO_ANSWER = "its submission has no answer yet"


@dataclass(slots=True, kw_only=True)
class Pass:
    """The state of one pass.

    uncertain: the runs of each runner that are to be decided again. requested: the submissions that this pass requested, by token, each
    with the result that waits for its answer.
    """

    reconciler: "Reconciler"
    uncertain: list[tuple[Runner, list[RunWithTimers]]] = field(default_factory=list)
    requested: dict[str, ReconcileResult] = field(default_factory=dict)

    def results(self, only: Collection[str] | None, *, submission_seconds: float) -> Iterator[ReconcileResult]:
        """Reconcile all unfinished runs, or those with these ids. Yields one result per run.

        submission_seconds: the time for which the pass waits for the answers to its submissions.
        """
        recorded = set()
        for answer in self.reconciler.submissions.answers():
            for result in self._record(answer):
                recorded.add(result.run.run_id)
                yield result
        by_runner: dict[str, list[RunWithTimers]] = {}
        for timed in store.unfinished_runs(only):
            if timed.run.run_id not in recorded:
                by_runner.setdefault(timed.run.runner, []).append(timed)
        self._withdraw(only, by_runner)
        for name, runs in by_runner.items():
            yield from self._observe(name, runs)
        for runner, runs in self.uncertain:
            yield from self._decide_again(runner, runs)
        yield from self._await_answers(submission_seconds)

    def _withdraw(self, only: Collection[str] | None, by_runner: dict[str, list[RunWithTimers]]) -> None:
        """Drop unsent requests for attempts that are not queued any more."""
        queued = {timed.run.attempt_token for runs in by_runner.values() for timed in runs if timed.run.state == RunState.PENDING}
        unsent = self.reconciler.submissions.unsent()
        read = [request.token for request in unsent if only is None or request.run.run_id in only]
        self.reconciler.submissions.withdraw(set(read) - queued)

    def _observe(self, name: str, runs: list[RunWithTimers]) -> Iterator[ReconcileResult]:
        """The first observation of the runs of one runner, and the actions that cannot be wrong."""
        try:
            runner = self.reconciler.runner_for(name)
            observations = runner.observe([store.handle_of(timed.run) for timed in runs])
        except Exception as error:  # noqa: BLE001 - a runner that fails must not delay the runs of the others
            yield from (failed(timed.run, error) for timed in runs)
            return
        uncertain = []
        seen = list(zip(runs, observations, strict=True))
        recorded: dict[str, bool] = {}
        for number, (timed, observation) in enumerate(seen):
            if number % RECORDED_TOGETHER == 0:
                recorded = self.reconciler.record(seen[number : number + RECORDED_TOGETHER])
            apply = partial(self.reconciler.apply, recorded=recorded.get(timed.run.run_id))
            done = isolated(timed.run, partial(apply, timed, observation, runner))
            if done is Action.SUBMIT:
                yield from self._request(timed.run, RunSpec.model_validate(timed.run.spec), runner)
            elif isinstance(done, ReconcileResult):
                yield from self._result(done, runner)
            else:
                uncertain.append(timed)
        if uncertain:
            self.uncertain.append((runner, uncertain))

    def _decide_again(self, runner: Runner, runs: Sequence[RunWithTimers]) -> Iterator[ReconcileResult]:
        """The actions that need a new observation: they end a run that may live, or may have begun since the first observation."""
        again = {timed.run.run_id: timed for timed in store.unfinished_runs([timed.run.run_id for timed in runs])}
        current = []
        for first in runs:
            timed = again.get(first.run.run_id)
            if timed is None or timed.run.attempt_token != first.run.attempt_token:
                yield ReconcileResult(run=first.run, action=ResultKind.LEFT, detail="another process just ended or retried the run")
            else:
                current.append(timed)
        if not current:
            return
        try:
            observations = runner.observe([store.handle_of(timed.run) for timed in current])
        except Exception as error:  # noqa: BLE001 - as for the first observation
            yield from (failed(timed.run, error) for timed in current)
            return
        pending = []
        for timed, observation in zip(current, observations, strict=True):
            done = isolated(timed.run, partial(self._act, timed, observation, runner))
            if isinstance(done, PendingTermination):
                pending.append(done)
            else:
                yield from self._result(done, runner)
        ours = self.reconciler
        # Terminations take time, so no other run of this runner waits for them.
        for result in terminate_runs(pending, runner, models_dir=ours.models_dir, read=ours.volume.read):
            yield from self._result(result, runner)

    def _act(self, timed: RunWithTimers, observation: Observation, runner: Runner) -> ReconcileResult | PendingTermination:
        ours, run, spec = self.reconciler, timed.run, store.attempt_of(timed.run)
        decision = ours.decide(timed, observation, runner)
        if decision.action is Action.TERMINATE:
            return PendingTermination(run=run, spec=spec, diagnosis=decision.diagnosis)
        if decision.action is Action.FINALIZE:
            holds = partial(self._still_terminated, timed, observation, runner)
            return ours.finalize(run, spec, decision.diagnosis, runner, report=observation.report, holds=holds)
        return ReconcileResult(run=run, action=ResultKind.LEFT, detail=f"its state changed meanwhile: {decision.diagnosis.headline}")

    def _still_terminated(self, timed: RunWithTimers, observation: Observation, runner: Runner) -> bool:
        """Whether the observation still belongs to the run, and the run still counts as terminated."""
        now = store.run_with_timers(timed.run.run_id)
        if now is None or _identity(now.run) != _identity(timed.run):
            return False
        return self.reconciler.decide(now, observation, runner).action is Action.FINALIZE

    def _result(self, result: ReconcileResult, runner: Runner) -> Iterator[ReconcileResult]:
        """Yield the result, or request the submission for which it waits."""
        if result.following is None:
            yield result
        else:
            yield from self._request(result.run, result.following, runner, result=result)

    def _request(
        self, run: TrainingRun, spec: RunSpec, runner: Runner, *, result: ReconcileResult | None = None
    ) -> Iterator[ReconcileResult]:
        waits = replace(result, detail=f"{result.detail}: {NO_ANSWER}") if result else _left(run)
        if self.reconciler.submissions.add(submission_of(run, spec, runner)):
            self.requested[spec.attempt_token] = result or waits
        else:
            # An earlier pass requested it.
            yield waits

    def _await_answers(self, seconds: float) -> Iterator[ReconcileResult]:
        """Record the answers to the requests of this pass that come in time. The others are recorded by a later pass."""
        submissions, until = self.reconciler.submissions, time.monotonic() + seconds
        while self.requested and (left := until - time.monotonic()) > 0:
            submissions.wait(self.requested.keys(), left)
            for answer in submissions.answers():
                if answer.request.token in self.requested:
                    yield from self._record(answer)
        for result in self.requested.values():
            yield result if result.following is None else replace(result, detail=f"{result.detail}: {NO_ANSWER}")

    def _record(self, answer: Answer) -> Iterator[ReconcileResult]:
        """Write the answer of one request. Yields the result of the run, unless another request follows."""
        submissions, token = self.reconciler.submissions, answer.request.token
        done = isolated(answer.request.run, answer.record)
        if not (isinstance(done, ReconcileResult) and done.end_waits):
            submissions.forget(answer)
        if isinstance(done, Request):
            submissions.add(done)
            return
        waiting = self.requested.pop(token, None)
        if isinstance(done, ReconcileResult):
            yield done
        elif waiting is not None and waiting.following is not None:
            yield replace(waiting, detail=f"{waiting.detail}: {done.detail}")
        else:
            yield _result_of(answer.request.run, done)


def _result_of(run: TrainingRun, submission: Submission) -> ReconcileResult:
    action = ResultKind.CLOSED if submission.closed else ResultKind.SUBMITTED if submission.handle else ResultKind.LEFT
    return ReconcileResult(run=run, action=action, detail=submission.detail)


def _left(run: TrainingRun) -> ReconcileResult:
    return ReconcileResult(run=run, action=ResultKind.LEFT, detail=NO_ANSWER)


def _identity(run: TrainingRun) -> tuple[object, ...]:
    return run.state, run.attempt_token, store.handle_of(run)
