"""Runs of a machine that keeps what it was handed: all are submitted at once, and may be waited for."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from gregory.launch.errors import LaunchError
from gregory.launch.runner import Runner
from gregory.management import polling
from gregory.management.console import Console
from gregory.management.database import describe
from gregory.management.termination import Terminated
from gregory.reconcile import loop
from gregory.reconcile.results import ResultKind
from gregory.reconcile.submit import Submission, record_submission, request
from gregory.reporting import summary
from gregory.runs import store
from gregory.runs.db_retry import best_effort
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.heartbeat import HEARTBEAT_SECONDS, every
from gregory.runs.models import TrainingRun
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunSpec
from gregory.runs.states import RunState

# While one answer is awaited the others are on their way; a burst is what the machine's own pace prevents.
SUBMITTED_SIDE_BY_SIDE = 4
Answer = Future[RunHandle | LaunchError]
FOLLOW, CANCEL, LIST = (f"python manage.py training_runs {action}" for action in ("logs --follow", "cancel", "list"))


def submit_all(opened: Sequence[RunSpec], runner: Runner, console: Console) -> None:
    """Hand over every run, a few at a time, at the pace that its machine allows. Raises Terminated; what was not begun is then closed."""
    waiting, asked = deque(opened), deque[tuple[RunSpec, Answer]]()
    tend = every(HEARTBEAT_SECONDS, partial(best_effort, partial(_keep, waiting), otherwise=True))
    try:
        while waiting or asked:
            while waiting and len(asked) < SUBMITTED_SIDE_BY_SIDE:
                asked.append((waiting[0], _asked(waiting[0], runner)))
                waiting.popleft()
            spec, answer = asked[0]
            _tell_handed(spec, record_submission(spec, runner, answer.result()), console)
            asked.popleft()
            tend()
    except Terminated as terminated:
        # Of those under way the reconciler finds out whether their machine has them, unless that is known already.
        for spec, answer in asked:
            if answer.done():
                record_submission(spec, runner, answer.result())
        for spec in waiting:
            store.end_run(spec, RunState.CANCELLED, Diagnosis(summary=f"{terminated} before it was submitted", reason=Reason.INTERRUPTED))
        raise


def _asked(spec: RunSpec, runner: Runner) -> Answer:
    """Its machine's answer, awaited by a thread that nobody waits for who has to end."""
    answer = Answer()

    def wait() -> None:
        try:
            answer.set_result(request(spec, runner))
        except BaseException as error:  # noqa: BLE001 - raised where the answer is asked for
            answer.set_exception(error)

    threading.Thread(target=wait, daemon=True).start()
    return answer


def _tell_handed(spec: RunSpec, handed: Submission, console: Console) -> None:
    if handed.handle is None:
        console.error(f"{spec.label}: run {spec.run_id}: {handed.detail}")
    else:
        console.info(f"{spec.label}: run {spec.run_id} {handed.detail}; follow it with: {FOLLOW} {spec.run_id}")


def how_to_go_on(specs: Sequence[RunSpec]) -> str:
    """What to type while runs are at work that nobody here waits for."""
    run_id = specs[0].run_id if len(specs) == 1 else "RUN_ID"
    return f"follow one with: {FOLLOW} {run_id}; cancel it with: {CANCEL} {run_id}; see all with: {LIST}"


def wait(specs: Sequence[RunSpec], runner: Runner, console: Console) -> None:
    """Return when every run has ended, telling what becomes of them; it reconciles these itself, so it ends where nobody else does."""
    ids = [spec.run_id for spec in specs]
    told: dict[str, str] = {}
    away = False
    while True:
        try:
            for change in loop.reconcile_once(
                lambda name: runner, models_dir=settings.MODELS_DIR, stale_after=settings.STALE_AFTER_SECONDS, only=ids
            ):
                held_up = change.action is ResultKind.UNSEEN or change.run.state == RunState.PENDING
                _tell(told, f"look at {change.run.run_id}", str(change) if held_up else "", console)
            unfinished = _tell_all(specs, told, console)
            away = False
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if not away:
                console.warn(f"{describe(error)}; trying again")
            unfinished = away = True
        if not unfinished:
            return
        polling.pause()


def _tell_all(specs: Sequence[RunSpec], told: dict[str, str], console: Console) -> bool:
    """Whatever is new since the last time; whether any run has not ended."""
    unfinished = False
    runs = store.find_runs([spec.run_id for spec in specs])
    for spec in specs:
        run = runs.get(spec.run_id)
        if run is None:
            continue
        unfinished |= not RunState(run.state).is_final
        _tell(told, run.run_id, f"{spec.label}: {situation(run)}", console)
    for row in summary.outcomes(specs):
        if row.success is not None:
            label = f"{row.team.slug}/{row.subject.subject_slug}/{row.algorithm}"
            _tell(told, str(row.pk), f"{label}: version {row.model_version}: {summary.result(row)}", console)
    return unfinished


def _tell(told: dict[str, str], key: str, line: str, console: Console) -> None:
    if told.get(key, "") != line:
        told[key] = line
        if line:
            console.info(line)


def situation(run: TrainingRun) -> str:
    """Where a run stands, in one line."""
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


def _keep(waiting: Sequence[RunSpec]) -> bool:
    store.heartbeat(waiting)
    return True
