"""Runs of a back end that executes several at a time: submit all, then return or wait for their ends."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from django.db import InterfaceError, OperationalError, connection

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.management import polling
from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.runners import reconciler
from gregory.management.termination import persist, raise_if_terminated, settle
from gregory.reconcile.submit import Submission, record_submission, request
from gregory.reporting import summary
from gregory.runs import store
from gregory.runs.db_retry import best_effort
from gregory.runs.heartbeat import HEARTBEAT_SECONDS, every
from gregory.runs.models import TrainingRun
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState

# Requests in progress at a time. The runner's rate limit prevents bursts.
MAX_REQUESTS = 4
Answer = Future[RunHandle | LaunchError]
FOLLOW, CANCEL, LIST = (f"python manage.py training_runs {action}" for action in ("logs --follow", "cancel", "list"))


def submit_all(opened: Sequence[RunSpec], queued: dict[str, str], runner: Runner, console: Console) -> None:
    """Submit every run, MAX_REQUESTS at a time, and remove it from `queued`. The others stay queued after a signal or an error."""
    waiting, requested = deque(opened), deque[tuple[RunSpec, Answer]]()
    keep_alive = every(HEARTBEAT_SECONDS, partial(best_effort, partial(_heartbeat, waiting), otherwise=True))
    try:
        while waiting or requested:
            while waiting and len(requested) < MAX_REQUESTS:
                requested.append((waiting[0], _request(waiting[0], runner)))
                queued.pop(waiting.popleft().run_id)
            spec, answer = requested[0]
            _report_submission(spec, record_submission(spec, runner, answer.result(), retry=persist), console)
            requested.popleft()
            keep_alive()
            raise_if_terminated()
    except BaseException as cause:
        # Requests without an answer stay open. The reconciler finds out whether the back end has the run.
        for spec, answer in requested:
            if answer.done() and answer.exception() is None:
                record_submission(spec, runner, answer.result(), retry=partial(settle, cause=cause))
        raise


def _request(spec: RunSpec, runner: Runner) -> Answer:
    """The answer of the back end. A daemon thread waits for it, so that a signal can end the command at once."""
    answer = Answer()

    def wait() -> None:
        try:
            answer.set_result(request(spec, runner))
        except BaseException as error:  # noqa: BLE001 - Future.result raises it again
            answer.set_exception(error)

    threading.Thread(target=wait, daemon=True).start()
    return answer


def _report_submission(spec: RunSpec, submission: Submission, console: Console) -> None:
    if submission.handle is None:
        console.error(f"{spec.label}: run {spec.run_id}: {submission.detail}")
    else:
        console.info(f"{spec.label}: run {spec.run_id} {submission.detail}; follow it with: {FOLLOW} {spec.run_id}")


def next_commands(specs: Sequence[RunSpec]) -> str:
    """The commands for runs that continue without this command."""
    run_id = specs[0].run_id if len(specs) == 1 else "RUN_ID"
    return f"follow one with: {FOLLOW} {run_id}; cancel it with: {CANCEL} {run_id}; see all with: {LIST}"


def wait(specs: Sequence[RunSpec], runner: Runner, console: Console) -> None:
    """Return when every run has ended. Print each change. This function reconciles the runs itself, so it needs no other reconciler."""
    ids = [spec.run_id for spec in specs]
    printed: dict[str, str] = {}
    unreachable = False
    ours = reconciler(lambda name: runner)
    while True:
        try:
            for change in ours.reconcile_once(ids):
                waits = change.is_delayed or change.run.state == RunState.PENDING
                _print_new(printed, f"reconcile {change.run.run_id}", str(change) if waits else "", console)
            unfinished = _print_changes(specs, printed, console)
            unreachable = False
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if not unreachable:
                console.warn(f"{describe(error)}; this command repeats its requests until the database answers")
            unfinished = unreachable = True
        raise_if_terminated()
        if not unfinished:
            return
        polling.pause()


def _print_changes(specs: Sequence[RunSpec], printed: dict[str, str], console: Console) -> bool:
    """Print the changes since the last pass. True if any run has not ended."""
    unfinished = False
    runs = store.find_runs([spec.run_id for spec in specs])
    for spec in specs:
        run = runs.get(spec.run_id)
        if run is None:
            continue
        unfinished |= not RunState(run.state).is_final
        _print_new(printed, run.run_id, f"{spec.label}: {situation(run)}", console)
    for outcome in summary.outcomes(specs):
        training = outcome.training
        if training.success is not None:
            line = f"{outcome.label}: version {training.version}: {summary.result(training)}"
            _print_new(printed, str(training.record.run_log_id), line, console)
    return unfinished


def _print_new(printed: dict[str, str], key: str, line: str, console: Console) -> None:
    if printed.get(key, "") != line:
        printed[key] = line
        if line:
            console.info(line)


def situation(run: TrainingRun) -> str:
    """The state of a run in one line."""
    attempt = f"attempt {run.attempt}: " if run.attempt > 1 else ""
    if run.state == RunState.SUCCEEDED:
        return f"{attempt}succeeded"
    if RunState(run.state).is_final or run.reason:
        word = run.state if RunState(run.state).is_final else "is being ended"
        return f"{attempt}{word} ({run.reason}): {_first_line(run.detail)}"
    unseen = f", unknown since {run.unknown_since:%Y-%m-%d %H:%M:%S} UTC" if run.unknown_since else ""
    if run.state == RunState.RUNNING:
        return f"{attempt}running{f' on {run.node}' if run.node else ''}{unseen}"
    if run.waiting_for:
        return f"{attempt}queued: {_first_line(run.waiting_for)}{unseen}"
    return f"{attempt}{run.state}{unseen}"


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _heartbeat(waiting: Sequence[RunSpec]) -> bool:
    store.heartbeat(waiting)
    return True
