"""The check of a chaos run: each violation alone, and the permitted ends."""

from dataclasses import replace

import pytest

from tools.chaos import check, table
from tools.chaos.chaos_env import Row, Run
from tools.chaos.evidence import Evidence, Job, Training
from tools.chaos.faults import Strike
from tools.chaos.script import Fault, Script

SCRIPT = Script(
    number=0, team="team-0", subject="subject-0", seconds={"lstm": 1.0, "lgbm_tfidf": 1.0}, fault=Fault.NONE, at=0, delay=0.0, pause=0.0
)
RUN = Run(run_id="r", label="team-0/subject-0", state="succeeded", reason="", detail="", attempt=1, external_name="job")
ROWS = tuple(
    Row(run_id="r", id=number, algorithm=name, version="1", success=True, reason="") for number, name in enumerate(("lstm", "lgbm_tfidf"))
)
DONE = tuple(Training(attempt=1, algorithm=name, begun=1, done=True) for name in ("lstm", "lgbm_tfidf"))
JOB = Job(name="job", run_id="r", attempt=1, finished=True)
WELL = Evidence(
    strike=Strike(script=SCRIPT, struck=False), runs=(RUN,), rows=ROWS, complete=frozenset({0, 1}), trainings=DONE, overlaps=0, jobs=(JOB,)
)


def struck(fault: Fault, *, state: str, reason: str = "", attempt: int = 1, at: int = 0) -> Evidence:
    """A run whose first training was struck. Its rows fit the run."""
    well = state == "succeeded"
    rows = tuple(replace(row, success=well, reason="" if well else reason) for row in ROWS)
    trained = tuple(replace(training, attempt=attempt) for training in DONE) if well else ()
    return replace(
        WELL,
        strike=Strike(script=replace(SCRIPT, fault=fault, at=at), struck=True),
        runs=(replace(RUN, state=state, reason=reason, attempt=attempt),),
        rows=rows,
        complete=frozenset({0, 1}) if well else frozenset(),
        trainings=(Training(attempt=1, algorithm="lstm", begun=1, done=False), *trained) if attempt > 1 else trained,
    )


def test_a_correct_run_has_no_violation():
    assert check.violations(WELL) == []


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (replace(WELL, runs=()), "it has 0 runs"),
        (replace(WELL, runs=(replace(RUN, state="running"),)), "open at the end: running"),
        (replace(WELL, rows=(replace(ROWS[0], success=None), ROWS[1])), "row of lstm is open at the end"),
        (replace(WELL, rows=ROWS[:1]), "rows of ['lstm']"),
        (replace(WELL, complete=frozenset({1})), "row of lstm has success True, and its complete model is not there"),
        (replace(WELL, rows=(replace(ROWS[0], success=False), ROWS[1])), "row of lstm has success False, and its complete model is there"),
        (replace(WELL, overlaps=1), "two workers trained at the same time"),
        (replace(WELL, trainings=(*DONE, replace(DONE[0], attempt=2))), "lstm was trained in attempt 2 after attempt 1"),
        (replace(WELL, trainings=(replace(DONE[0], begun=2), DONE[1])), "lstm began 2 times in attempt 1"),
        (replace(WELL, jobs=(replace(JOB, finished=False),)), "Job job has not finished"),
        (replace(WELL, jobs=(JOB, replace(JOB, attempt=2))), "Job job belongs to an attempt that was not opened"),
        (replace(WELL, jobs=(JOB, JOB)), "2 Jobs of attempt 1"),
        (
            replace(WELL, runs=(replace(RUN, attempt=2),)),
            "wrong end: succeeded at attempt 2, fault: none, struck: False: ",
        ),
    ],
)
def test_each_violation_is_found(evidence: Evidence, words: str):
    assert words in check.violations(evidence)


@pytest.mark.parametrize(
    ("evidence", "allowed"),
    [
        (struck(Fault.EVICTED, state="succeeded", attempt=2), True),
        (struck(Fault.EVICTED, state="failed", reason="killed"), False),
        (struck(Fault.POD_DELETED, state="failed", reason="deleted"), False),
        (struck(Fault.SUSPENDED, state="succeeded", attempt=2), False),
        (struck(Fault.RUN_KILLED, state="failed", reason="killed"), True),
        (struck(Fault.RUN_KILLED, state="failed", reason="lost"), False),
        (struck(Fault.RUN_KILLED, state="succeeded"), True),
        (struck(Fault.CANCELLED, state="failed", reason="cancelled"), False),
        (struck(Fault.JOB_DELETED, state="succeeded", attempt=2), False),
    ],
)
def test_the_end_must_fit_the_fault(evidence: Evidence, allowed: bool):
    assert (check.violations(evidence) == []) is allowed


def test_a_fault_that_came_too_late_counts_as_none():
    late = replace(WELL, strike=Strike(script=replace(SCRIPT, fault=Fault.EVICTED), struck=False))

    assert check.violations(late) == []
    lines = table.of([WELL, late, struck(Fault.EVICTED, state="succeeded", attempt=2)]).splitlines()
    assert [line.split() for line in lines[2:]] == [["none", "2"], ["evicted", "1"]]
