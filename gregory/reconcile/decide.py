"""The action for one unfinished run, from its observation and the run store. Pure.

A run ends only on evidence that its back end no longer executes it. An unknown status proves nothing.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from gregory.launch.runner import Observation, Status
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import RETRYABLE, Reason, Retried
from gregory.runs.spec import FOREIGN
from gregory.runs.states import RunState

# The answer of a back end may be older than the run.
MISSING_GRACE = 60.0
# A reconciler without the models volume waits longer: one with it may find a complete model that was not reported.
MODELS_NOT_VISIBLE_GRACE = 2 * MISSING_GRACE
# A submitter submits a queued run within seconds, or writes heartbeats until then.
SUBMISSION_GRACE = 60.0
# A heartbeat of at most this age is the present word of a run: it writes one every 15 s, and one or two may be lost.
RECENT_HEARTBEAT = 60.0
# A run that its machine cannot observe has probably ended. It lives if it wrote a heartbeat within this time.
UNOBSERVED_GRACE = 2 * RECENT_HEARTBEAT
# A run that lives may be cut off from the database. So its silence may last this much longer than its idle time, or twice as long.
CUT_OFF_GRACE = 900
# A reconciler of the version that specified the run comes first, because it can retry the run.
FOREIGN_GRACE = 60.0
# Further attempts that only end rows whose model may be published. They train nothing.
PUBLISH_ATTEMPTS = 3


class Action(StrEnum):
    """NONE: do nothing. SUBMIT the run. TERMINATE it on its back end. FINALIZE it, because it has ended."""

    NONE = "none"
    SUBMIT = "submit"
    TERMINATE = "terminate"
    FINALIZE = "finalize"


class RetryPolicy(StrEnum):
    """The treatment of open rows.

    CLOSE them. AGAIN: retry all. WITHOUT: close the algorithm in training and retry the others. PUBLISH: close all but those whose model
    may be published, and let an attempt with the models volume end these.
    """

    CLOSE = "close"
    AGAIN = "again"
    WITHOUT = "without"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The action for one unfinished run, and its cause. To TERMINATE and to FINALIZE there is a reason."""

    action: Action
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """The facts of the run store about a run. Times are seconds by the clock of the database, None if that clock does not run.

    heard, silent, idle, missing: as in `store.RunWithTimers`. announced: the end that a reconciler or an operator announced.
    durable: as in `Runner`. foreign: another version of this program specified the run.
    models_not_visible: the run is missing, it was at work, and this process cannot read its folder.
    """

    state: RunState
    heard: float
    silent: float
    idle: float | None
    missing: float | None
    announced: Diagnosis | None
    durable: bool
    foreign: bool = False
    models_not_visible: bool
    stale_after: int
    stall_after: int


def decide(observation: Observation, run: RunSnapshot) -> Decision:
    """The action for the run."""
    if observation.status is Status.UNKNOWN and observation.diagnosis is not None and run.silent > UNOBSERVED_GRACE:
        end = observation.diagnosis.noting(f"it wrote no heartbeat for {run.silent:.0f} s")
        observation = replace(observation, status=Status.TERMINATED, diagnosis=end)
    if run.state is RunState.PENDING:
        return _decide_pending(observation, run)
    if observation.status is Status.UNKNOWN:
        return _decide_unknown(observation, run)
    if observation.status is Status.TERMINATED:
        return _decide_terminated(observation, run)
    if run.announced is not None:
        return Decision(action=Action.TERMINATE, diagnosis=run.announced)
    if observation.status is Status.PENDING and observation.diagnosis is not None:
        return Decision(action=Action.TERMINATE, diagnosis=observation.diagnosis)
    if observation.status is Status.ALIVE and run.state is RunState.RUNNING and (stalled := stall_of(run)):
        return Decision(
            action=Action.TERMINATE, diagnosis=Diagnosis(summary=f"stalled: {stalled}; {observation.detail}", reason=Reason.STALLED)
        )
    return _none(observation.detail)


def silence_limit(stall_after: int) -> int:
    """The seconds without a heartbeat after which a run that lives is terminated."""
    return max(2 * stall_after, stall_after + CUT_OFF_GRACE)


def stall_of(run: RunSnapshot) -> str:
    """Why a run that lives counts as stalled; empty if it does not.

    Only a recent heartbeat proves that the run made no progress. A run without one may be cut off from the database and work.
    """
    if run.stall_after <= 0:
        return ""
    if run.idle is not None and run.idle > run.stall_after and run.heard <= RECENT_HEARTBEAT:
        idle = run.idle + run.heard
        return f"no progress for {idle:.0f} s, the limit is {run.stall_after} s; last heartbeat {run.heard:.0f} s ago"
    limit = silence_limit(run.stall_after)
    return f"no heartbeat for {run.heard:.0f} s, the limit is {limit} s" if run.silent > limit else ""


def retry_policy(
    reason: Reason,
    *,
    durable: bool,
    retries: int,
    max_attempts: int,
    in_training: int,
    still_open: int,
    publishing: int = 0,
    announced: bool = False,
) -> RetryPolicy:
    """The treatment of open rows.

    in_training, still_open, publishing: the number of the run's algorithms in training, without an end, and with a model that may be
    published. announced: whether the end was announced before it was observed. Then no training is repeated.
    """
    publishing = publishing if durable and retries < max_attempts + PUBLISH_ATTEMPTS else 0
    if announced:
        return RetryPolicy.PUBLISH if publishing else RetryPolicy.CLOSE
    others = in_training < still_open if in_training else publishing
    if reason.entry.retried is Retried.OTHERS and durable and others:
        return RetryPolicy.WITHOUT
    if reason in RETRYABLE and retries + 1 < max_attempts:
        return RetryPolicy.AGAIN
    return RetryPolicy.PUBLISH if publishing else RetryPolicy.CLOSE


def _decide_pending(observation: Observation, run: RunSnapshot) -> Decision:
    """Before its submission a run belongs to the process that queued it. The observation is of that process."""
    if run.announced is not None:
        return Decision(action=Action.FINALIZE, diagnosis=run.announced)
    if run.durable:
        # A second submission is harmless, and the process that queued the run may be out of sight.
        if observation.status is Status.TERMINATED or run.silent > SUBMISSION_GRACE:
            if run.foreign:
                return _none(f"queued and not submitted; {FOREIGN}: reconcile it with that version, or cancel it and train again")
            return Decision(action=Action.SUBMIT, diagnosis=Diagnosis(summary=f"queued and not submitted: {observation.text}"))
        return _none(observation.detail)
    if observation.status is Status.UNKNOWN:
        return _decide_unknown(observation, run)
    if observation.status is Status.TERMINATED:
        summary = f"never started: the command that queued it is gone ({observation.text})"
        return Decision(action=Action.FINALIZE, diagnosis=Diagnosis(summary=summary, reason=Reason.NOT_STARTED))
    return _none(observation.detail)


def _decide_unknown(observation: Observation, run: RunSnapshot) -> Decision:
    if run.durable or run.silent <= run.stale_after:
        return _none(f"{observation.detail}; its status is unknown")
    if run.announced is not None:
        return Decision(action=Action.FINALIZE, diagnosis=run.announced)
    summary = f"lost: {observation.detail} and wrote no heartbeat for more than {run.stale_after} s"
    return Decision(action=Action.FINALIZE, diagnosis=Diagnosis(summary=summary, reason=Reason.LOST))


def _decide_terminated(observation: Observation, run: RunSnapshot) -> Decision:
    grace = MODELS_NOT_VISIBLE_GRACE if run.models_not_visible else MISSING_GRACE
    if observation.missing and (run.missing is None or run.missing < grace):
        return _none(f"{observation.text}; it counts as terminated if it is still missing in {grace:.0f} s")
    end = observation.diagnosis or Diagnosis(summary=observation.detail)
    if run.announced is not None:
        return Decision(action=Action.FINALIZE, diagnosis=replace(run.announced, exit_code=end.exit_code))
    if end.reason is None:
        end = (
            replace(end, reason=Reason.DELETED) if observation.missing else replace(end, reason=Reason.LOST, summary=f"lost: {end.summary}")
        )
    if run.foreign and end.reason is not None and end.reason.entry.retried is not Retried.NO and run.silent < FOREIGN_GRACE:
        return _none(f"{end.headline}; {FOREIGN} and may retry it; this version closes it in {FOREIGN_GRACE:.0f} s")
    return Decision(action=Action.FINALIZE, diagnosis=end)


def _none(detail: str) -> Decision:
    return Decision(action=Action.NONE, diagnosis=Diagnosis(summary=detail))
