"""The rule as a table: every cause, every state, and what is concluded from not knowing."""

from dataclasses import replace

import pytest

from gregory.launch.runner import Life, Observation
from gregory.reconcile.decide import BLIND_GRACE, MISSING_GRACE, Facts, Fate, Sequel, judge, sequel
from gregory.runs.reasons import Reason
from gregory.runs.states import RunState

ALIVE = Observation(life=Life.ALIVE, detail="process 7 runs")
QUEUED = Observation(life=Life.WAITING, detail="0/1 nodes are available: 1 Insufficient nvidia.com/gpu")
NO_IMAGE = Observation(life=Life.WAITING, detail="ErrImagePull: not found; for 601 s", reason=Reason.IMAGE_PULL)
GONE = Observation(life=Life.DEAD, detail="process 7 on here is gone and left no report")
KILLED = Observation(life=Life.DEAD, detail="the run's process was killed by signal 9 (SIGKILL)", reason=Reason.KILLED, exit_code=-9)
ELSEWHERE = Observation(life=Life.UNKNOWN, detail="process 7 belongs to host there")
MISSING = Observation(life=Life.DEAD, detail="the Job is not there", missing=True)

FACTS = Facts(
    state=RunState.RUNNING,
    silent=1.0,
    idle=1.0,
    missing=None,
    ending=None,
    why="",
    kept=False,
    blind=False,
    stale_after=900,
    stall_after=0,
)
KEPT = {"kept": True}
BLIND = {"blind": True}
QUEUED_HERE = {"state": RunState.PENDING}
CANCELLED = {"ending": Reason.CANCELLED, "why": "cancelled by me"}


@pytest.mark.parametrize(
    ("observation", "facts", "fate", "reason", "detail"),
    [
        (ALIVE, {"silent": 9999.0}, Fate.LEAVE, None, "process 7 runs"),
        (GONE, {}, Fate.BURY, Reason.LOST, "lost: process 7 on here is gone and left no report"),
        (KILLED, {}, Fate.BURY, Reason.KILLED, "the run's process was killed by signal 9 (SIGKILL)"),
        (
            GONE,
            QUEUED_HERE,
            Fate.BURY,
            Reason.NOT_STARTED,
            "never started: the command that queued it is gone (process 7 on here is gone and left no report)",
        ),
        (ALIVE, QUEUED_HERE, Fate.LEAVE, None, "process 7 runs"),
        (ELSEWHERE, {}, Fate.LEAVE, None, "process 7 belongs to host there; not known to be dead"),
        (
            ELSEWHERE,
            {"silent": 901.0},
            Fate.BURY,
            Reason.LOST,
            "lost: process 7 belongs to host there and has given no sign of life for more than 900 s",
        ),
        # A machine that keeps what it was handed: silence says nothing, and what was not handed over is.
        (ELSEWHERE, {"silent": 99999.0, **KEPT}, Fate.LEAVE, None, "process 7 belongs to host there; not known to be dead"),
        (QUEUED, {"state": RunState.SUBMITTED, "silent": 99999.0, **KEPT}, Fate.LEAVE, None, QUEUED.detail),
        (GONE, {**QUEUED_HERE, **KEPT}, Fate.SUBMIT, None, f"queued and not handed over: {GONE.detail}"),
        (ELSEWHERE, {**QUEUED_HERE, **KEPT}, Fate.LEAVE, None, ELSEWHERE.detail),
        (ELSEWHERE, {**QUEUED_HERE, **KEPT, "silent": 61.0}, Fate.SUBMIT, None, f"queued and not handed over: {ELSEWHERE.detail}"),
        (ALIVE, {**QUEUED_HERE, **KEPT, "silent": 61.0}, Fate.SUBMIT, None, f"queued and not handed over: {ALIVE.detail}"),
        # What is not there counts only if it is not there some time later.
        (MISSING, KEPT, Fate.LEAVE, None, "the Job is not there; if it is still so in 60 s, it is dead"),
        (MISSING, {**KEPT, "missing": MISSING_GRACE - 1}, Fate.LEAVE, None, "the Job is not there; if it is still so in 60 s, it is dead"),
        (MISSING, {**KEPT, "missing": MISSING_GRACE}, Fate.BURY, Reason.DELETED, "the Job is not there"),
        (MISSING, {**KEPT, **CANCELLED, "missing": MISSING_GRACE}, Fate.BURY, Reason.CANCELLED, "cancelled by me"),
        # Who does not see what it left comes after those who do.
        (
            MISSING,
            {**KEPT, **BLIND, "missing": BLIND_GRACE - 1},
            Fate.LEAVE,
            None,
            "the Job is not there; if it is still so in 120 s, it is dead",
        ),
        (MISSING, {**KEPT, **BLIND, "missing": BLIND_GRACE}, Fate.BURY, Reason.DELETED, "the Job is not there"),
        (KILLED, {**KEPT, **BLIND}, Fate.BURY, Reason.KILLED, KILLED.detail),
        # An end that was announced is carried out, and is the reason wherever the run is found gone.
        (ALIVE, CANCELLED, Fate.END, Reason.CANCELLED, "cancelled by me"),
        (QUEUED, {**CANCELLED, "state": RunState.SUBMITTED}, Fate.END, Reason.CANCELLED, "cancelled by me"),
        (KILLED, CANCELLED, Fate.BURY, Reason.CANCELLED, "cancelled by me"),
        (ALIVE, {**CANCELLED, **QUEUED_HERE, **KEPT}, Fate.BURY, Reason.CANCELLED, "cancelled by me"),
        (ELSEWHERE, CANCELLED, Fate.LEAVE, None, "process 7 belongs to host there; not known to be dead"),
        # No progress: ended where that is asked for, and only a run that has begun.
        (ALIVE, {"idle": 9999.0}, Fate.LEAVE, None, "process 7 runs"),
        (ALIVE, {"idle": 1800.0, "stall_after": 1800}, Fate.LEAVE, None, "process 7 runs"),
        (
            ALIVE,
            {"idle": 1801.0, "stall_after": 1800},
            Fate.END,
            Reason.STALLED,
            "stalled: no progress for 1801 s, 1800 are allowed; last sign of life 1 s ago; process 7 runs",
        ),
        (ALIVE, {"idle": None, "stall_after": 1800}, Fate.LEAVE, None, "process 7 runs"),
        (ALIVE, {"idle": 1801.0, "stall_after": 1800, "state": RunState.SUBMITTED}, Fate.LEAVE, None, "process 7 runs"),
        # A wait that is over is ended, too: what cannot begin now must not begin later.
        (NO_IMAGE, {"state": RunState.SUBMITTED, **KEPT}, Fate.END, Reason.IMAGE_PULL, NO_IMAGE.detail),
        (NO_IMAGE, {"state": RunState.SUBMITTED, **KEPT, **CANCELLED}, Fate.END, Reason.CANCELLED, "cancelled by me"),
        (QUEUED, {"idle": 1801.0, "stall_after": 1800}, Fate.LEAVE, None, QUEUED.detail),
    ],
)
def test_the_rule(observation: Observation, facts: dict, fate: Fate, reason: Reason | None, detail: str):
    verdict = judge(observation, replace(FACTS, **facts))

    assert (verdict.fate, verdict.reason, verdict.detail) == (fate, reason, detail)


def test_the_exit_code_goes_with_the_death():
    assert judge(KILLED, FACTS).exit_code == -9


@pytest.mark.parametrize("state", [RunState.SUBMITTED, RunState.RUNNING])
@pytest.mark.parametrize("reason", list(Reason))
def test_whatever_a_machine_says_of_a_death_is_its_reason(reason: Reason, state: RunState):
    dead = Observation(life=Life.DEAD, detail="how", reason=reason)

    verdict = judge(dead, replace(FACTS, state=state, kept=True))

    assert (verdict.fate, verdict.reason, verdict.detail) == (Fate.BURY, reason, "how")


@pytest.mark.parametrize("reason", list(Reason))
def test_only_what_a_machine_took_away_is_tried_again_and_only_so_often(reason: Reason):
    def after(retries: int, max_attempts: int) -> Sequel:
        return sequel(reason, kept=True, retries=retries, max_attempts=max_attempts, in_training=0, still_open=2)

    taken = reason in (Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.INTERRUPTED)
    assert after(0, 3) is after(1, 3) is (Sequel.AGAIN if taken else Sequel.CLOSE)
    assert after(2, 3) is after(0, 1) is Sequel.CLOSE


@pytest.mark.parametrize(
    ("kept", "in_training", "still_open", "follows"),
    [
        (True, 1, 3, Sequel.WITHOUT),
        (True, 1, 1, Sequel.CLOSE),
        # Summaries are every algorithm's: what cannot be summarised cannot be trained.
        (True, 0, 3, Sequel.CLOSE),
        (False, 1, 3, Sequel.CLOSE),
    ],
)
def test_an_algorithm_that_ran_out_of_memory_is_left_out_by_those_behind_it(kept: bool, in_training: int, still_open: int, follows: Sequel):
    after = sequel(Reason.OUT_OF_MEMORY, kept=kept, retries=9, max_attempts=1, in_training=in_training, still_open=still_open)

    assert after is follows
