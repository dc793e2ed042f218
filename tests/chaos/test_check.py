"""The judge of a chaos run: each violation alone, and the permitted ends."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.well import (
    DONE,
    FOLDERS,
    JOB,
    LABEL,
    MADE,
    RETRIED,
    ROWS,
    START,
    WELL,
    again,
    at,
    disturbed,
    failed,
    row,
    run,
    strike,
)  # fmt: skip
from tools.chaos import check, table
from tools.chaos.records import Evidence, Folder, Suspension, Together
from tools.chaos.schedule import Target
from tools.chaos.script import Fault

KILLED = strike(Fault.RUN_KILLED)


def published(*, reason: str, attempt: int, **changes: Any) -> Evidence:
    """A killed run with one finished model, which a later attempt published."""
    evidence = failed(KILLED, reason=reason, attempt=attempt, code=1)
    first = replace(DONE[0], attempt=1)
    return replace(
        replace(evidence, rows=(ROWS[0], evidence.rows[1]), folders=FOLDERS[:1], trainings=(first,)),
        **changes,
    )


DELETION = replace(MADE, verb="delete", code=200, at=at(40).timestamp())
LOST = disturbed(Target.NODE_DELETED, 10, 20)


def unstarted(message: str) -> Evidence:
    """A run whose first Job the product deleted, and whose second attempt succeeded."""
    evidence = again(disturbed=(LOST,), events=(replace(RETRIED, message=message),))
    requests = (*evidence.requests, replace(DELETION, at=at(20).timestamp()))
    return replace(evidence, requests=requests, trainings=evidence.trainings[1:])


def test_a_correct_run_has_no_violation():
    assert check.violations(WELL) == []


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        # The run.
        (replace(WELL, runs=()), "it has 0 runs"),
        (run(state="running"), "open at the end: running"),
        (again(), "wrong end: succeeded at attempt 2, faults: none: "),
        (run(exit_code=1), "exit code 1 of a run that succeeded, permitted: [0]"),
        (failed(KILLED, reason="killed", code=None), "exit code None of a run that failed, permitted: [137]"),
        # Rows and folders.
        (row(success=None), "row of lstm is open at the end"),
        (replace(WELL, rows=ROWS[:1], folders=FOLDERS[:1]), "rows of ['lstm']"),
        (run(state="failed"), "the run failed, its rows: [True, True]"),
        (replace(WELL, folders=FOLDERS[1:]), "row of lstm has success True, and its complete model is not there"),
        (
            replace(WELL, folders=(replace(FOLDERS[0], complete=False), FOLDERS[1])),
            "row of lstm has success True, and its complete model is not there",
        ),
        (failed(KILLED, reason="killed", code=137, folders=FOLDERS[:1]), "row of lstm has success False, and its complete model is there"),
        (row(path="elsewhere"), f"row of lstm has the folder 'elsewhere', and its model is in {LABEL}/lstm/1"),
        (row(digest="other"), "row of lstm has the digest 'other', its manifest 'digest lstm'"),
        (row(metrics={"test_f1": 0.999}), "row of lstm has the metrics {'test_f1': 0.999}, its folder {'test_f1': 0.5}"),
        (row(id=7), "row 7 of lstm succeeded, and its folder is of row 0"),
        (row(error="text"), "row of lstm succeeded with no reason and the message 'text'"),
        (
            replace(WELL, folders=(*FOLDERS, Folder(path=f"{LABEL}/lstm/2", row_id=9, digest="", metrics={}, complete=True))),
            f"folder {LABEL}/lstm/2 has no row",
        ),
        # Times.
        (run(submitted_at=at(6)), f"started at {at(5)}, before submitted at {at(6)}"),
        (run(started_at=None), "a run that succeeded has no time started"),
        (run(queued_at=None), "a run that succeeded has no time queued"),
        (row(finished=None), "row of lstm ended without a time"),
        (row(started=at(30)), f"row of lstm finished at {at(20)}, before its start at {at(30)}"),
        (row(finished=at(70)), f"row of lstm finished at {at(70)}, after its run at {at(60)}"),
        # Executions.
        (replace(WELL, overlaps=1), "two stages worked at the same time"),
        (
            replace(WELL, together=(Together(kind="supervisor", seconds=2.0),)),
            "two processes of the kind supervisor for 2.0 s, permitted: 0 s",
        ),
        (
            replace(WELL, disturbed=(LOST,), together=(Together(kind="supervisor", seconds=56.0),)),
            "two processes of the kind supervisor for 56.0 s, permitted: 55 s",
        ),
        (replace(WELL, trainings=(*DONE, replace(DONE[0], attempt=2))), "lstm was trained in attempt 2 after attempt 1"),
        (replace(WELL, trainings=(replace(DONE[0], begun=2), DONE[1])), "lstm began 2 times in attempt 1"),
        (replace(WELL, alive_at_end=("supervisor 7",)), "processes of a run that succeeded live at the end: supervisor 7"),
        (
            replace(WELL, last_alive=at(110).timestamp()),
            "a process lived 50 s after the end of its row, permitted: 45 s",
        ),
        # Jobs.
        (replace(WELL, jobs=(replace(JOB, finished=False),)), "Job job has not finished"),
        (replace(WELL, jobs=(JOB, replace(JOB, attempt=2))), "Job job belongs to an attempt that was not opened"),
        (replace(WELL, jobs=(JOB, JOB)), "2 Jobs of attempt 1"),
        (replace(WELL, requests=(MADE, MADE)), "2 Jobs of attempt 1"),
        (replace(WELL, requests=(MADE, replace(MADE, attempt=2))), "a Job of attempt 2 was made, which was not opened"),
        (replace(WELL, jobs=(), requests=()), "attempt 1 has no Job"),
        (replace(WELL, events=(RETRIED,)), "1 events of a retry for 1 attempts"),
        (unstarted("attempt 1 ended: running: evicted"), "the product deleted the Job of attempt 1 while it was at work"),
        (replace(WELL, requests=(MADE, DELETION)), "the product deleted the Job of attempt 1 while it was at work"),
        (
            replace(WELL, strikes=(strike(Fault.CANCELLED, seconds=41),), requests=(MADE, DELETION)),
            "the product deleted the Job of attempt 1 while it was at work",
        ),
    ],
)  # fmt: skip
def test_each_violation_is_found(evidence: Evidence, words: str):
    assert words in check.violations(evidence)


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (failed(KILLED, reason="killed", code=137), "row of lstm failed for deleted, its run for killed"),
        (failed(KILLED, reason="killed", code=137), "row of lstm failed for no reason, its run for killed"),
    ],
)
def test_the_reason_of_a_row_fits_its_run(evidence: Evidence, words: str):
    reason = "" if "no reason" in words else "deleted"
    wrong = replace(evidence, rows=(replace(evidence.rows[0], reason=reason), *evidence.rows[1:]))

    assert check.violations(evidence) == []
    assert words in check.violations(wrong)


@pytest.mark.parametrize("change", [{"error": ""}, {"error": None}, {"error": "another cause"}])
def test_the_message_of_a_failed_row_has_its_reason(change: dict[str, str | None]):
    evidence = failed(KILLED, reason="killed", code=137)
    wrong = replace(evidence, rows=(replace(evidence.rows[0], **change), *evidence.rows[1:]))

    assert any("row of lstm failed for killed with the message" in words for words in check.violations(wrong))


def test_a_failed_row_has_no_model():
    evidence = failed(KILLED, reason="killed", code=137)
    wrong = replace(evidence, rows=(replace(evidence.rows[0], digest="left"), *evidence.rows[1:]))

    assert "row of lstm failed with folder '', digest 'left' and metrics {}" in check.violations(wrong)


@pytest.mark.parametrize(
    ("fault", "seconds", "words"),
    [
        (Fault.RUN_KILLED, 46, "46 s from run killed to its decision, permitted: 45 s"),
        (Fault.RUN_KILLED, 45, None),
    ],
)
def test_a_decision_comes_in_time(fault: Fault, seconds: float, words: str | None):
    evidence = failed(strike(fault, seconds=60 - seconds), reason="killed", code=137)

    assert check.violations(evidence) == ([words] if words else [])


def test_a_job_that_kueue_releases_after_the_end_of_its_run_has_one_more_pod():
    """Its pod finds nothing to do."""
    evidence = replace(WELL, last_alive=at(140).timestamp())
    suspended = Suspension(run_id=WELL.runs[0].run_id, attempt=1, began=at(61).timestamp(), ended=at(100).timestamp())

    assert check.violations(replace(evidence, suspensions=(suspended,))) == []
    never_released, released_before = (
        replace(suspended, ended=math.inf),
        replace(suspended, began=at(5).timestamp(), ended=at(9).timestamp()),
    )
    for one in (never_released, released_before):
        late = "a process lived 80 s after the end of its row, permitted: 45 s"
        assert check.violations(replace(evidence, suspensions=(one,))) == [late]


def test_a_disturbance_delays_a_decision():
    evidence = failed(strike(Fault.RUN_KILLED, seconds=10), reason="killed", code=137)

    assert check.violations(evidence) == ["50 s from run killed to its decision, permitted: 45 s"]
    assert check.violations(replace(evidence, disturbed=(disturbed(Target.DATABASE, 15, 20),))) == []


@pytest.mark.parametrize(
    ("evidence", "allowed"),
    [
        (again(strike(Fault.EVICTED)), True),
        (failed(strike(Fault.EVICTED), reason="killed", code=137), False),
        (failed(strike(Fault.POD_DELETED), reason="deleted"), False),
        (again(strike(Fault.SUSPENDED)), False),
        (again(strike(Fault.CUT_OFF)), False),
        (failed(strike(Fault.RUN_KILLED), reason="killed", code=137), True),
        (failed(strike(Fault.RUN_KILLED), reason="lost", code=137), False),
        (replace(WELL, strikes=(strike(Fault.RUN_KILLED),)), False),
        # The last step of a run, and a lost response.
        (replace(WELL, strikes=(strike(Fault.RUN_KILLED, all_done=True),)), True),
        (replace(WELL, strikes=(strike(Fault.CANCELLED, struck=None),)), True),
        (failed(strike(Fault.CANCELLED), state="failed", reason="cancelled"), False),
        (failed(strike(Fault.CANCELLED), state="cancelled", reason="cancelled"), True),
        (again(strike(Fault.JOB_DELETED)), False),
        # Two faults.
        (again(strike(Fault.EVICTED), strike(Fault.POD_DELETED, seconds=25), attempts=3), True),
        (again(strike(Fault.EVICTED), strike(Fault.POD_DELETED, seconds=25)), False),
        (failed(strike(Fault.EVICTED), strike(Fault.RUN_KILLED, seconds=35), reason="killed", attempt=2, code=137), True),
        (failed(strike(Fault.EVICTED), strike(Fault.RUN_KILLED, seconds=35), reason="killed", code=137), False),
        # A lost node.
        (again(disturbed=(LOST,)), True),
        (replace(WELL, disturbed=(LOST,)), True),
        (again(disturbed=(disturbed(Target.DATABASE, 10, 20),)), False),
        # The node was lost before a reconciler saw the fault.
        (again(KILLED, disturbed=(disturbed(Target.NODE_RESTARTED, 20, 25),)), True),
        (again(KILLED, disturbed=(disturbed(Target.NODE_RESTARTED, 5, 10),)), False),
        (failed(strike(Fault.EVICTED), reason="evicted", attempt=3, disturbed=(LOST, LOST)), True),
        (failed(strike(Fault.EVICTED), reason="evicted", attempt=2), False),
        # A reconciler without the models left a finished model to another attempt.
        (published(reason="killed", attempt=2), True),
        (published(reason="killed", attempt=2, trainings=()), False),
        (published(reason="killed", attempt=5), False),
        (published(reason="deleted", attempt=2), False),
        (failed(strike(Fault.SHIM_KILLED), reason="lost", code=255), True),
        # The older release does not know a node without power.
        (failed(reason="lost", code=255, disturbed=(LOST, disturbed(Target.OLDER_RELEASE, 10, 30))), True),
        (failed(reason="not_started", disturbed=(LOST, disturbed(Target.OLDER_RELEASE, 10, 30)), requests=(MADE, DELETION)), True),
        (failed(reason="not_started", disturbed=(LOST,)), False),
        (failed(reason="lost", code=255, disturbed=(LOST,)), False),
        (failed(reason="lost", code=255, disturbed=(disturbed(Target.OLDER_RELEASE, 10, 30),)), False),
    ],
)
def test_the_end_must_fit_the_faults(evidence: Evidence, allowed: bool):
    assert (check.violations(evidence) == []) is allowed


@pytest.mark.parametrize(
    ("fault", "began", "ended", "hidden"),
    [
        (Fault.RUN_KILLED, 10, 20, True),
        # The pod may live for some seconds after its suspension, and a reconciler sees the fault some seconds later.
        (Fault.RUN_KILLED, 1, 2, True),
        (Fault.RUN_KILLED, 30, math.inf, True),
        (Fault.RUN_KILLED, 1, -4, False),
        (Fault.EVICTED, 80, 90, False),
        # These end the Job.
        (Fault.JOB_DELETED, 10, 20, False),
        (Fault.CANCELLED, 10, 20, False),
    ],
)
def test_kueue_can_hide_the_end_of_a_pod(fault: Fault, began: float, ended: float, hidden: bool):
    held = Suspension(run_id="r", attempt=1, began=at(began).timestamp(), ended=START.timestamp() + ended)
    as_if_nothing = replace(WELL, strikes=(strike(fault),), suspensions=(held,))

    assert (check.violations(as_if_nothing) == []) is hidden


def test_a_suspension_is_no_new_attempt_and_no_failure():
    held = Suspension(run_id="r", attempt=1, began=at(10).timestamp(), ended=at(20).timestamp())
    twice = replace(WELL, suspensions=(held,), trainings=(replace(DONE[0], begun=2), DONE[1]))

    assert check.violations(twice) == []
    assert check.violations(replace(twice, suspensions=())) == ["lstm began 2 times in attempt 1"]
    assert check.violations(again(suspensions=(held,))) != []


@pytest.mark.parametrize(
    "evidence",
    [
        # A superseded attempt on a lost node stops at its next heartbeat.
        replace(WELL, disturbed=(LOST,), overlaps=1, together=(Together(kind="supervisor", seconds=20.0),)),
        # The API server was killed between the creation and its record.
        replace(WELL, requests=()),
        replace(WELL, jobs=(), requests=(replace(MADE, code=409),)),
        # The Job of an attempt that has ended.
        replace(WELL, requests=(MADE, replace(DELETION, at=at(61).timestamp()))),
        # An administrator deletes a Job.
        failed(strike(Fault.JOB_DELETED), reason="deleted", requests=(MADE, replace(DELETION, by_product=False))),
        failed(strike(Fault.CANCELLED), state="cancelled", reason="cancelled", requests=(MADE, DELETION)),
        # The node lost a pod whose container had not started.
        unstarted("attempt 1 ended: submitted: node_lost: the node lost the containers of the pod"),
        # The same in the last attempt.
        failed(
            reason="node_lost",
            attempt=3,
            disturbed=(LOST, LOST, LOST),
            events=(RETRIED, RETRIED),
            trainings=(),
            requests=(*(replace(MADE, attempt=number) for number in (1, 2, 3)), replace(DELETION, attempt=3)),
        ),
        # A run that succeeded while an operator cancelled it.
        replace(WELL, strikes=(strike(Fault.CANCELLED, struck=None, seconds=40),), requests=(MADE, DELETION)),
    ],
)
def test_permitted_executions(evidence: Evidence):
    assert check.violations(evidence) == []


def test_a_fault_that_came_too_late_counts_as_none():
    late = replace(WELL, strikes=(strike(Fault.EVICTED, struck=False),))

    assert check.violations(late) == []
    lines = table.of([WELL, late, again(strike(Fault.EVICTED))]).splitlines()
    assert [line.split() for line in lines[2:]] == [["none", "2"], ["evicted", "1"]]


def test_the_times_of_the_decisions_are_printed():
    lines = table.times([failed(strike(Fault.RUN_KILLED, seconds=40), reason="killed", code=137), WELL]).splitlines()

    assert lines[2].split() == [*["end", "of", "the", "last", "process", "after", "its", "row"], "2", "0", "0"]
    assert lines[3].split() == ["run", "killed", "1", "20", "20"]
