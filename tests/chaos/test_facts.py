"""The facts that the judge reads: requests for Jobs, processes, answers, and the number of faults in effect."""

import json
import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.chaos.well import ALGORITHMS, DONE, SCRIPT, disturbed, strike
from tools.chaos import audit, evidence, processes, queues, quota
from tools.chaos.accounts import adapted
from tools.chaos.answers import CANCEL, KUBECTL, Answers, Words, merged
from tools.chaos.processes import Kind, Process
from tools.chaos.records import Training
from tools.chaos.schedule import Target
from tools.chaos.script import Fault

EVENT = {
    "verb": "create",
    "user": {"username": "system:serviceaccount:chaos:gregory-train-submitter"},
    "requestURI": "/apis/batch/v1/namespaces/chaos/jobs",
    "objectRef": {"namespace": "chaos", "name": "gregory-train-0123456789ab-a2"},
    "responseStatus": {"code": 201},
    "requestReceivedTimestamp": "2026-01-01T00:00:01.500000Z",
}


def test_the_audit_log_has_the_requests_for_jobs():
    dry = EVENT | {"requestURI": "/apis/batch/v1/namespaces/chaos/jobs?dryRun=All"}
    elsewhere = EVENT | {"objectRef": {"namespace": "other", "name": "gregory-train-0123456789ab-a2"}}
    collected = EVENT | {"verb": "delete", "user": {"username": "admin"}, "responseStatus": {"code": 200}}
    lines = [*map(json.dumps, (EVENT, dry, elsewhere, collected)), json.dumps(EVENT)[:40]]

    found = list(audit.requests(lines, namespace="chaos"))

    assert [(one.verb, one.run_id, one.attempt, one.code, one.by_product) for one in found] == [
        ("create", "0123456789ab", 2, 201, True),
        ("delete", "0123456789ab", 2, 200, False),
    ]
    assert found[0].at == 1767225601.5


def patched(seconds: int, suspend: bool, *, code: int = 200) -> dict[str, object]:
    time = f"2026-01-01T00:00:{seconds:02}.000000Z"
    change = {"requestObject": {"spec": {"suspend": suspend}}, "responseStatus": {"code": code}, "requestReceivedTimestamp": time}
    return EVENT | {"verb": "patch"} | change


def test_the_audit_log_has_the_times_for_which_kueue_took_a_job_back():
    annotated = EVENT | {"verb": "patch", "requestObject": {"metadata": {"annotations": {}}}}
    others = [patched(4, True, code=409), annotated, EVENT]
    # Released, taken back twice, and not released again.
    changes = [patched(1, False), patched(3, True), patched(5, False), patched(9, True)]
    lines = [*map(json.dumps, (*changes, *others)), json.dumps(changes[0])[:40]]

    found = audit.suspensions(lines, namespace="chaos")

    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert [(one.attempt, one.began - start, one.ended - start) for one in found] == [(2, 3, 5), (2, 9, math.inf)]
    assert [one.verb for one in audit.requests(lines, namespace="chaos")] == ["create"]


def test_the_events_of_kueue_have_the_preemptions():
    event = {"involvedObject": {"name": "job-gregory-train-0123456789ab-a1-f00d1"}, "lastTimestamp": "2026-01-01T00:00:01Z"}

    assert queues.preemption_of(event) == queues.Preemption(run_id="0123456789ab", at=1767225601.0)
    assert queues.preemption_of(event | {"involvedObject": {"name": "job-another"}}) is None


@pytest.mark.parametrize(
    ("conditions", "admitted"),
    [
        ([("QuotaReserved", "True")], False),
        ([("Admitted", "True")], True),
        ([("Admitted", "True"), ("Evicted", "False")], True),
        ([("Admitted", "True"), ("Evicted", "True")], False),
        ([("Admitted", "True"), ("Finished", "True")], False),
    ],
)
def test_a_workload_that_is_to_be_deleted_works(conditions: list[tuple[str, str]], admitted: bool):
    workload = {"metadata": {}, "status": {"conditions": [{"type": kind, "status": status} for kind, status in conditions]}}

    assert queues.is_admitted(workload) is admitted


STAGE = ["python3", "-m", "gregory.ml.stages", "train", "--in", "/models/t/s/.runs/r1/stages/train-lstm/in", "--out", "/x", "--lifeline"]
SPECIFICATION = {"GREGORY_RUN_SPEC": '{"run_id": "r1"}'}


@pytest.mark.parametrize(
    ("command", "environment", "expected"),
    [
        (STAGE, {}, (Kind.STAGE, "r1", "train-lstm")),
        (["python3", "-m", "job"], SPECIFICATION, (Kind.SUPERVISOR, "r1", "")),
        (["/usr/local/bin/dumb-init", "--", "python3", "-m", "job"], SPECIFICATION, (Kind.INIT, "r1", "")),
        (["/pause"], {}, None),
        (["sh"], SPECIFICATION, None),
    ],
)
def test_a_process_is_known_by_command_and_environment(command: list[str], environment: dict[str, str], expected: object):
    found = processes.parsed(7, 1, command, environment)

    assert (found and (found.kind, found.run_id, found.stage)) == expected


def of(pid: int, parent: int, kind: Kind, run_id: str = "r1") -> Process:
    return Process(pid=pid, parent=parent, kind=kind, run_id=run_id)


def test_two_processes_of_one_run_are_found():
    one, other = of(1, 0, Kind.SUPERVISOR), of(2, 0, Kind.SUPERVISOR)

    assert processes.together([one, other]) == {("r1", Kind.SUPERVISOR)}
    assert processes.together([one, of(2, 0, Kind.SUPERVISOR, run_id="r2"), of(3, 1, Kind.STAGE)]) == set()
    assert processes.together([of(3, 1, Kind.STAGE), of(4, 2, Kind.STAGE)]) == {("r1", Kind.STAGE)}
    # A child between fork and exec.
    assert processes.together([one, of(2, 1, Kind.SUPERVISOR)]) == set()


@pytest.mark.parametrize(
    ("words", "answers", "expected"),
    [
        (KUBECTL, [(0, "")], True),
        (KUBECTL, [(1, "Error from server (NotFound)")], False),
        (KUBECTL, [(1, "connection refused"), (1, "Error from server (NotFound)")], None),
        (KUBECTL, [(1, "connection refused"), (0, "")], True),
        (CANCEL, [(0, "cancelled")], True),
        (CANCEL, [(1, "run r was cancelled, but its end is not observed yet")], True),
        (CANCEL, [(1, "run r has already ended: succeeded")], False),
        (CANCEL, [(0, "it ended by itself meanwhile")], False),
        # The answer to the first command was lost, and it may have cancelled the run.
        (CANCEL, [(1, "server closed the connection"), (1, "run r has already ended: cancelled")], None),
        (CANCEL, [(1, "run r has ended, or has another attempt; list it again")], False),
    ],
)
def test_a_lost_answer_leaves_the_effect_unknown(words: Words, answers: list[tuple[int, str]], expected: bool | None):
    found = Answers(words)
    for code, output in answers:
        assert not found.complete
        found.add(code, output)

    assert (found.complete, found.done) == (True, expected)


def test_a_run_with_another_attempt_is_cancelled_again():
    found = Answers(CANCEL)

    found.add(1, "run r has ended, or has another attempt; list it again", again=True)
    assert not found.complete
    found.add(0, "cancelled")
    assert found.done is True


def test_several_answers_become_one():
    assert merged([False, None, True]) is True
    assert merged([False, None]) is None
    assert merged([]) is False


def test_faults_that_took_effect_too_seldom_are_a_failure():
    struck = quota.faults([strike(Fault.EVICTED), strike(Fault.EVICTED, struck=False), strike(Fault.EVICTED, struck=None)])
    targets = quota.targets([disturbed(Target.DATABASE, 0, 1)])

    assert struck == Counter({Fault.EVICTED: 1})
    assert quota.missing_faults(struck, 2).count(Fault.EVICTED) == 1
    seldom = quota.shortfalls(struck, targets, 1, wanted=[Target.DATABASE, Target.KUBELET])
    assert f"{Fault.RUN_KILLED}: in effect 0 times, asked for 1" in seldom
    assert f"{Target.KUBELET}: in effect 0 times, asked for 1" in seldom
    assert not any(str(kind) in words for kind in (Fault.EVICTED, Target.DATABASE, Target.PREEMPTED) for words in seldom)
    assert quota.shortfalls({}, {}, 0, wanted=Target) == []
    assert (quota.default(100), quota.default(20), quota.default(101)) == (5, 1, 6)


def test_the_account_has_the_names_of_the_namespace():
    role = {"metadata": {"namespace": "gregory-train", "labels": {"app": "gregory-train"}}, "resourceNames": ["gregory-train-models"]}

    assert adapted(role, "chaos") == {"metadata": {"namespace": "chaos", "labels": {"app": "gregory-train"}}, "resourceNames": ["models"]}


def test_a_fault_in_the_last_step_of_a_run_is_known():
    """Every training was done, or an earlier fault had failed it."""
    begun = Training(attempt=1, algorithm=ALGORITHMS[1], begun=1, done=False)
    killed, late = strike(Fault.WORKER_KILLED), strike(Fault.EVICTED)

    assert evidence.judged(late, [], SCRIPT, DONE).all_done
    assert not evidence.judged(late, [], SCRIPT, [DONE[0], begun]).all_done
    assert evidence.judged(late, [killed], SCRIPT, [DONE[0], begun]).all_done
    # A later attempt trained it.
    assert not evidence.judged(late, [], SCRIPT, [DONE[0], begun, replace(DONE[1], attempt=2)]).all_done
