"""The decisions as a table: every cause, every state, and the unknown status."""

from dataclasses import replace
from typing import Any

import pytest

from gregory.launch.runner import Observation, Status
from gregory.reconcile.decide import (
    FOREIGN_GRACE,
    MISSING_GRACE,
    MODELS_NOT_VISIBLE_GRACE,
    PUBLISH_ATTEMPTS,
    Action,
    RetryPolicy,
    RunSnapshot,
    decide,
    retry_policy,
)
from gregory.runs.diagnosis import Diagnosis
from gregory.runs.reasons import Reason
from gregory.runs.states import RunState

ALIVE = Observation(status=Status.ALIVE, detail="process 7 runs")
QUEUED = Observation(status=Status.PENDING, detail="0/1 nodes are available: 1 Insufficient nvidia.com/gpu")
NO_IMAGE = Observation(
    status=Status.PENDING,
    detail="ErrImagePull: not found; for 601 s",
    diagnosis=Diagnosis(summary="ErrImagePull: not found; for 601 s", reason=Reason.IMAGE_PULL),
)
GONE = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="process 7 on here ended without a report"))
KILLED = Observation(
    status=Status.TERMINATED,
    diagnosis=Diagnosis(summary="the run's process was killed by signal 9 (SIGKILL)", reason=Reason.KILLED, exit_code=-9),
)
ELSEWHERE = Observation(status=Status.UNKNOWN, detail="process 7 belongs to host there")
NOT_OBSERVED = Observation(
    status=Status.UNKNOWN, detail="process 7 belongs to another boot", diagnosis=Diagnosis(summary="process 7 belongs to another boot")
)
MISSING = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="the Job is not there"), missing=True)

FACTS = RunSnapshot(
    state=RunState.RUNNING,
    heard=1.0,
    silent=1.0,
    idle=1.0,
    missing=None,
    announced=None,
    durable=False,
    models_not_visible=False,
    stale_after=900,
    stall_after=0,
)
DURABLE = {"durable": True}
MODELS_NOT_VISIBLE = {"models_not_visible": True}
QUEUED_HERE = {"state": RunState.PENDING}
CANCELLED = {"announced": Diagnosis(summary="cancelled by me", reason=Reason.CANCELLED)}


@pytest.mark.parametrize(
    ("observation", "facts", "action", "reason", "detail"),
    [
        (ALIVE, {"silent": 9999.0}, Action.NONE, None, "process 7 runs"),
        (GONE, {}, Action.FINALIZE, Reason.LOST, "lost: process 7 on here ended without a report"),
        (KILLED, {}, Action.FINALIZE, Reason.KILLED, "the run's process was killed by signal 9 (SIGKILL)"),
        (
            GONE,
            QUEUED_HERE,
            Action.FINALIZE,
            Reason.NOT_STARTED,
            "never started: the command that queued it is gone (process 7 on here ended without a report)",
        ),
        (ALIVE, QUEUED_HERE, Action.NONE, None, "process 7 runs"),
        (ELSEWHERE, {}, Action.NONE, None, "process 7 belongs to host there; its status is unknown"),
        (
            ELSEWHERE,
            {"silent": 901.0},
            Action.FINALIZE,
            Reason.LOST,
            "lost: process 7 belongs to host there and wrote no heartbeat for more than 900 s",
        ),
        # The machine of the process cannot observe it. A recent heartbeat proves that it lives.
        (NOT_OBSERVED, {}, Action.NONE, None, "process 7 belongs to another boot; its status is unknown"),
        (NOT_OBSERVED, {"silent": 120.0}, Action.NONE, None, "process 7 belongs to another boot; its status is unknown"),
        (
            NOT_OBSERVED,
            {"silent": 121.0},
            Action.FINALIZE,
            Reason.LOST,
            "lost: process 7 belongs to another boot; it wrote no heartbeat for 121 s",
        ),
        (NOT_OBSERVED, QUEUED_HERE, Action.NONE, None, "process 7 belongs to another boot; its status is unknown"),
        (
            NOT_OBSERVED,
            {**QUEUED_HERE, "silent": 121.0},
            Action.FINALIZE,
            Reason.NOT_STARTED,
            "never started: the command that queued it is gone (process 7 belongs to another boot; it wrote no heartbeat for 121 s)",
        ),
        (NOT_OBSERVED, {**CANCELLED, "silent": 121.0}, Action.FINALIZE, Reason.CANCELLED, "cancelled by me"),
        (NOT_OBSERVED, {**QUEUED_HERE, **DURABLE}, Action.NONE, None, NOT_OBSERVED.detail),
        # On a durable back end a missing heartbeat proves nothing, and a run that was not submitted is.
        (ELSEWHERE, {"silent": 99999.0, **DURABLE}, Action.NONE, None, "process 7 belongs to host there; its status is unknown"),
        (QUEUED, {"state": RunState.SUBMITTED, "silent": 99999.0, **DURABLE}, Action.NONE, None, QUEUED.detail),
        (GONE, {**QUEUED_HERE, **DURABLE}, Action.SUBMIT, None, f"queued and not submitted: {GONE.text}"),
        (ELSEWHERE, {**QUEUED_HERE, **DURABLE}, Action.NONE, None, ELSEWHERE.detail),
        (ELSEWHERE, {**QUEUED_HERE, **DURABLE, "silent": 61.0}, Action.SUBMIT, None, f"queued and not submitted: {ELSEWHERE.detail}"),
        (ALIVE, {**QUEUED_HERE, **DURABLE, "silent": 61.0}, Action.SUBMIT, None, f"queued and not submitted: {ALIVE.detail}"),
        # A missing run counts as terminated only if it is still missing later.
        (MISSING, DURABLE, Action.NONE, None, "the Job is not there; it counts as terminated if it is still missing in 60 s"),
        (
            MISSING,
            {**DURABLE, "missing": MISSING_GRACE - 1},
            Action.NONE,
            None,
            "the Job is not there; it counts as terminated if it is still missing in 60 s",
        ),
        (MISSING, {**DURABLE, "missing": MISSING_GRACE}, Action.FINALIZE, Reason.DELETED, "the Job is not there"),
        (MISSING, {**DURABLE, **CANCELLED, "missing": MISSING_GRACE}, Action.FINALIZE, Reason.CANCELLED, "cancelled by me"),
        # A reconciler that cannot read the models waits longer.
        (
            MISSING,
            {**DURABLE, **MODELS_NOT_VISIBLE, "missing": MODELS_NOT_VISIBLE_GRACE - 1},
            Action.NONE,
            None,
            "the Job is not there; it counts as terminated if it is still missing in 120 s",
        ),
        (
            MISSING,
            {**DURABLE, **MODELS_NOT_VISIBLE, "missing": MODELS_NOT_VISIBLE_GRACE},
            Action.FINALIZE,
            Reason.DELETED,
            "the Job is not there",
        ),
        (KILLED, {**DURABLE, **MODELS_NOT_VISIBLE}, Action.FINALIZE, Reason.KILLED, KILLED.text),
        # An announced end is executed. Its reason is the reason of a run that is gone.
        (ALIVE, CANCELLED, Action.TERMINATE, Reason.CANCELLED, "cancelled by me"),
        (QUEUED, {**CANCELLED, "state": RunState.SUBMITTED}, Action.TERMINATE, Reason.CANCELLED, "cancelled by me"),
        (KILLED, CANCELLED, Action.FINALIZE, Reason.CANCELLED, "cancelled by me"),
        (ALIVE, {**CANCELLED, **QUEUED_HERE, **DURABLE}, Action.FINALIZE, Reason.CANCELLED, "cancelled by me"),
        (ELSEWHERE, CANCELLED, Action.NONE, None, "process 7 belongs to host there; its status is unknown"),
        (ELSEWHERE, {**CANCELLED, "silent": 901.0}, Action.FINALIZE, Reason.CANCELLED, "cancelled by me"),
        # A run that says itself that it makes no progress is terminated if there is a limit and the run has begun.
        (ALIVE, {"idle": 9999.0}, Action.NONE, None, "process 7 runs"),
        (ALIVE, {"idle": 1800.0, "heard": 59.0, "stall_after": 1800}, Action.NONE, None, "process 7 runs"),
        (
            ALIVE,
            {"idle": 1801.0, "stall_after": 1800},
            Action.TERMINATE,
            Reason.STALLED,
            "stalled: no progress for 1802 s, the limit is 1800 s; last heartbeat 1 s ago; process 7 runs",
        ),
        # Without a recent heartbeat it may be cut off from the database, and may have made progress.
        (ALIVE, {"idle": 1801.0, "heard": 61.0, "stall_after": 1800}, Action.NONE, None, "process 7 runs"),
        (ALIVE, {"idle": 1801.0, "heard": 3600.0, "silent": 3600.0, "stall_after": 1800}, Action.NONE, None, "process 7 runs"),
        (ALIVE, {"idle": 0.0, "heard": 1000.0, "silent": 1000.0, "stall_after": 100}, Action.NONE, None, "process 7 runs"),
        # After an outage of the database it has time for a heartbeat.
        (ALIVE, {"idle": 0.0, "heard": 9999.0, "silent": 5.0, "stall_after": 1800}, Action.NONE, None, "process 7 runs"),
        # A run that is silent for much longer is terminated too.
        (
            ALIVE,
            {"idle": 0.0, "heard": 3601.0, "silent": 3601.0, "stall_after": 1800},
            Action.TERMINATE,
            Reason.STALLED,
            "stalled: no heartbeat for 3601 s, the limit is 3600 s; process 7 runs",
        ),
        (
            ALIVE,
            {"idle": 0.0, "heard": 1001.0, "silent": 1001.0, "stall_after": 100},
            Action.TERMINATE,
            Reason.STALLED,
            "stalled: no heartbeat for 1001 s, the limit is 1000 s; process 7 runs",
        ),
        (ALIVE, {"idle": None, "stall_after": 1800}, Action.NONE, None, "process 7 runs"),
        (ALIVE, {"idle": 1801.0, "stall_after": 1800, "state": RunState.SUBMITTED}, Action.NONE, None, "process 7 runs"),
        # A run that waited longer than its limit is terminated, so it cannot begin later.
        (NO_IMAGE, {"state": RunState.SUBMITTED, **DURABLE}, Action.TERMINATE, Reason.IMAGE_PULL, NO_IMAGE.detail),
        (NO_IMAGE, {"state": RunState.SUBMITTED, **DURABLE, **CANCELLED}, Action.TERMINATE, Reason.CANCELLED, "cancelled by me"),
        (QUEUED, {"idle": 1801.0, "stall_after": 1800}, Action.NONE, None, QUEUED.detail),
    ],
)
def test_decision(observation: Observation, facts: dict, action: Action, reason: Reason | None, detail: str):
    decision = decide(observation, replace(FACTS, **facts))

    assert (decision.action, decision.diagnosis.reason, decision.diagnosis.text) == (action, reason, detail)


def test_the_decision_has_the_exit_code():
    assert decide(KILLED, FACTS).diagnosis.exit_code == -9


@pytest.mark.parametrize("state", [RunState.SUBMITTED, RunState.RUNNING])
@pytest.mark.parametrize("reason", list(Reason))
def test_the_reason_of_a_diagnosis_is_the_reason_of_the_end(reason: Reason, state: RunState):
    ended = Observation(status=Status.TERMINATED, diagnosis=Diagnosis(summary="how", reason=reason))

    decision = decide(ended, replace(FACTS, state=state, durable=True))

    assert (decision.action, decision.diagnosis.reason, decision.diagnosis.text) == (Action.FINALIZE, reason, "how")


@pytest.mark.parametrize("reason", list(Reason))
def test_only_retryable_reasons_are_retried_up_to_the_limit(reason: Reason):
    def after(retries: int, max_attempts: int) -> RetryPolicy:
        return retry_policy(reason, durable=True, retries=retries, max_attempts=max_attempts, in_training=0, still_open=2)

    taken = reason in (Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.INTERRUPTED)
    assert after(0, 3) is after(1, 3) is (RetryPolicy.AGAIN if taken else RetryPolicy.CLOSE)
    assert after(2, 3) is after(0, 1) is RetryPolicy.CLOSE


@pytest.mark.parametrize(
    ("durable", "in_training", "still_open", "follows"),
    [
        (True, 1, 3, RetryPolicy.WITHOUT),
        (True, 1, 1, RetryPolicy.CLOSE),
        # Every algorithm needs the summaries.
        (True, 0, 3, RetryPolicy.CLOSE),
        (False, 1, 3, RetryPolicy.CLOSE),
    ],
)
def test_retry_omits_the_algorithm_that_ran_out_of_memory(durable: bool, in_training: int, still_open: int, follows: RetryPolicy):
    after = retry_policy(Reason.OUT_OF_MEMORY, durable=durable, retries=9, max_attempts=1, in_training=in_training, still_open=still_open)

    assert after is follows


@pytest.mark.parametrize(
    ("reason", "durable", "retries", "follows"),
    [
        (Reason.KILLED, True, 0, RetryPolicy.PUBLISH),
        (Reason.CANCELLED, True, 0, RetryPolicy.PUBLISH),
        (Reason.EVICTED, True, 0, RetryPolicy.AGAIN),
        (Reason.EVICTED, True, 2, RetryPolicy.PUBLISH),
        (Reason.OUT_OF_MEMORY, True, 0, RetryPolicy.WITHOUT),
        (Reason.KILLED, True, 3 + PUBLISH_ATTEMPTS, RetryPolicy.CLOSE),
        (Reason.OUT_OF_MEMORY, True, 3 + PUBLISH_ATTEMPTS, RetryPolicy.CLOSE),
        (Reason.KILLED, False, 0, RetryPolicy.CLOSE),
    ],
)
def test_a_model_that_may_be_published_gets_an_attempt(reason: Reason, durable: bool, retries: int, follows: RetryPolicy):
    after = retry_policy(reason, durable=durable, retries=retries, max_attempts=3, in_training=0, still_open=2, publishing=1)

    assert after is follows


@pytest.mark.parametrize("observation", [ALIVE, QUEUED, NO_IMAGE, GONE, KILLED, ELSEWHERE, NOT_OBSERVED, MISSING])
@pytest.mark.parametrize("state", [RunState.PENDING, RunState.SUBMITTED, RunState.RUNNING])
@pytest.mark.parametrize("silent", [1.0, FOREIGN_GRACE + 1, 9999.0])
@pytest.mark.parametrize("rest", [{}, DURABLE, CANCELLED, DURABLE | CANCELLED, DURABLE | {"missing": MISSING_GRACE + 1, "stall_after": 60}])
def test_a_run_of_another_version_gets_no_other_action(observation: Observation, state: RunState, silent: float, rest: dict[str, Any]):
    """So the reconciler reads the specification of a run only for an action."""
    ours = replace(FACTS, state=state, silent=silent, heard=silent, **rest)

    decision, foreign = decide(observation, ours), decide(observation, replace(ours, foreign=True))

    if decision.action is Action.NONE:
        assert foreign == decision
    assert foreign.action in (decision.action, Action.NONE)
