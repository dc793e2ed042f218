"""Ends of runs on a cluster, checked in the rows. Each run has another end, and one reconciler handles all of them.

All runs are in one namespace at the same time. Scripted work replaces most trainings. Two causes are impossible here (C3, C24):

- A node that lacks resources would be this machine. A disk limit of the run replaces it.
- A failure of CUDA needs a GPU.
"""

import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gregory.launch.kubernetes.diagnose.pod_status import condition, is_finished, terminated
from gregory.launch.kubernetes.labels import CONTROLLER_UID
from gregory.launch.kubernetes.pod_patch import merged
from gregory.preflight.cluster import check_cluster
from tests.kubernetes import actions, pod_processes
from tests.kubernetes.production import Production, Row
from tools.chaos.scripted_work import MARKS
from tools.cluster import devices, run_image
from tools.cluster.cluster import GPU, NODE

pytestmark = pytest.mark.slow

TAINT = "gregory-train/test"
POD = r"pod gregory-train-\w{12}-a\d-\w{5}"
LATE = {"pendingSeconds": 60, "imagePullSeconds": 60}
TOLERANT = [{"operator": "Exists"}]
# Trains for real. The other cases have scripted work.
REAL = {"repository": run_image.NAME.rpartition(":")[0]}
CLAIMED: dict[str, Any] = {"gpu": {"count": 1, "claim": {"deviceClassName": devices.DRIVER}, "required": False}}
Act = Callable[[Production, Row], None]


def evict(production: Production, row: Row) -> None:
    (found,) = production.pods_of(row["run_id"])
    actions.evict_pod(production.cluster_namespace, found["metadata"]["name"])


def delete_pod(production: Production, row: Row) -> None:
    (found,) = production.pods_of(row["run_id"])
    production.cluster_namespace.kubectl("delete", "pod", found["metadata"]["name"], "--wait=false")


def taint(production: Production, row: Row) -> None:
    cluster, (found,) = production.cluster_namespace.cluster, production.pods_of(row["run_id"])
    cluster.must("taint", "node", NODE, f"{TAINT}=yes:NoExecute")
    gone = ["get", "pod", found["metadata"]["name"], "--namespace", production.cluster_namespace.namespace]
    try:
        cluster.until(lambda: cluster.kubectl(*gone).returncode != 0, what="the pod to be gone from the tainted node")
    finally:
        cluster.must("taint", "node", NODE, f"{TAINT}-")


def preempt(production: Production, row: Row) -> None:
    """Start a pod of higher priority that needs its GPUs for two seconds."""
    cluster_namespace, name = production.cluster_namespace, production.cluster_namespace.namespace
    cluster_namespace.cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000}
    )
    container = {"name": "any", "image": run_image.SCRIPTED, "command": ["sleep", "2"], "resources": {"limits": {GPU: "2"}}}
    spec = {"priorityClassName": name, "restartPolicy": "Never", "tolerations": TOLERANT, "containers": [container]}
    metadata = {"name": "stronger", "namespace": name}
    cluster_namespace.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def kill(production: Production, row: Row) -> None:
    pod_processes.send(row["run_id"], signal.SIGKILL)


def delete_job(production: Production, row: Row) -> None:
    production.cluster_namespace.kubectl("delete", "job", row["job"])
    # Two minutes of the database's clock.
    production.until(row["team"], row["subject"], lambda row: row["missing_since"] or row["success"] is not None)
    production.age(row["run_id"], "missing_since", 121)


def suspend_and_resume(production: Production, row: Row) -> None:
    cluster_namespace = production.cluster_namespace
    actions.set_suspended(cluster_namespace, row["job"], suspended=True)
    queued = production.until(row["team"], row["subject"], lambda row: "is suspended" in row["waiting_for"])
    assert (queued["state"], queued["success"], queued["attempt"]) == ("submitted", None, 1)
    assert production.pods_of(row["run_id"]) == []
    actions.set_suspended(cluster_namespace, row["job"], suspended=False)


def stall(production: Production, row: Row) -> None:
    """The stage stays stopped. Its last progress is half an hour old."""
    with production.idle(row["run_id"], 1801):
        production.until(row["team"], row["subject"], lambda row: row["run_reason"])


def continue_after_eviction(production: Production, row: Row) -> None:
    """Wait for the next attempt, then continue the run. The cluster can evict it before its training begins."""
    production.until(row["team"], row["subject"], lambda row: row["attempt"] == 2)
    pod_processes.send(row["run_id"], signal.SIGCONT)


def freeze(production: Production, row: Row) -> None:
    """Stop every process of the run."""
    pod_processes.send(row["run_id"], signal.SIGSTOP)
    # A run that lives and is silent may be cut off from the database. So its limit is twice as long.
    for column in ("heartbeat_at", "progress_at"):
        production.age(row["run_id"], column, 3601)


def cancel(production: Production, row: Row) -> None:
    done = production.installation.manage("training_runs", "cancel", row["run_id"], GREGORY_CLUSTER_CONFIG=production.cluster_file())
    # Too late if the run ends first.
    assert done.returncode == 0 or "has already ended: succeeded" in done.stderr, done.stdout + done.stderr
    assert [found for found in production.pods_of(row["run_id"]) if found["status"]["phase"] in ("Pending", "Running")] == []


def cancel_suspended(production: Production, row: Row) -> None:
    actions.set_suspended(production.cluster_namespace, row["job"], suspended=True)
    production.until(row["team"], row["subject"], lambda row: "is suspended" in row["waiting_for"])
    cancel(production, row)


def cancel_while_it_ends(production: Production, row: Row) -> None:
    production.held.let_go(row["run_id"])
    cancel(production, row)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run: changes of the cluster file, the action on it, and its row at the end.

    waits_for: the action comes when the run waits for this. Empty: when its training is stopped.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    act: Act | None = None
    waits_for: str = ""
    success: bool = False
    reason: str = ""
    state: str = "failed"
    attempt: int = 1
    error: str = ""
    exit_code: int | None = None


# A request of the resource that a DeviceClass serves. Earlier versions of Kubernetes know no such resource.
EXTENDED: dict[str, Any] = {"gpu": {"resource": devices.EXTENDED, "count": 1, "required": False}}
OF_EXTENDED_RESOURCE = (
    Case(changes=EXTENDED, success=True, state="succeeded", error="None")
    if devices.are_extended_resources()
    else Case(
        changes=EXTENDED,
        reason="unschedulable",
        error=rf"unschedulable: 0/1 nodes are available: 1 Insufficient {devices.EXTENDED}.*; for \d+ s, .*",
    )
)
OF_CLAIMS: dict[tuple[str, str], Case] = {
    ("claimed", "device"): Case(changes=CLAIMED, success=True, state="succeeded", error="None"),
    ("claimed-none", "device"): Case(
        changes={"gpu": {**CLAIMED["gpu"], "claim": {**CLAIMED["gpu"]["claim"], "selectors": ["device.driver == 'another'"]}}},
        reason="unschedulable",
        error=r"unschedulable: 0/1 nodes are available: 1 cannot allocate all claims.*; for \d+ s, .* or correct gpu\.claim in .*",
    ),
    ("claimed-class", "none"): Case(
        changes=actions.claimed_device("of-no-class"),
        reason="unschedulable",
        error=r"unschedulable: .*device class none\.gregory\.test does not exist.*; for \d+ s, .* or correct gpu\.claim in .*",
    ),
    ("claimed-template", "none"): Case(
        changes=actions.claimed_device("none"),
        reason="missing_object",
        error=r'FailedResourceClaimCreation: .*"none" not found; for \d+ s, .*; create the ResourceClaimTemplate that it names, .*',
    ),
}
RETRIED = {"success": True, "state": "succeeded", "attempt": 2, "error": "None"}
CASES: dict[tuple[str, str], Case] = {
    # Without the API of devices, Kubernetes removes the claim from a pod.
    **(OF_CLAIMS if devices.are_allocated() else {}),
    ("extended", "resource"): OF_EXTENDED_RESOURCE,
    ("plain", "undisturbed"): Case(success=True, state="succeeded", error="None"),
    ("plain", "killed"): Case(
        act=kill,
        reason="killed",
        exit_code=137,
        error=rf"{POD} was ended by signal 9 \(SIGKILL\), exit code 137, not because of its memory; find the sender on node {NODE}.*",
    ),
    ("plain", "evicted"): Case(act=evict, **RETRIED),
    ("plain", "pod-deleted"): Case(act=delete_pod, **RETRIED),
    ("plain", "suspended"): Case(act=suspend_and_resume, success=True, state="succeeded", error="None"),
    ("untolerant", "tainted"): Case(changes={"tolerations": []}, act=taint, **RETRIED),
    ("gpu", "preempted"): Case(changes={"gpu": {"count": 2, "required": False}}, act=preempt, **RETRIED),
    ("plain", "stalled"): Case(
        act=stall, reason="stalled", error=r"(stalled: no progress for \d{4} s, the limit is 1800 s; last heartbeat \d+ s ago; .*)"
    ),
    ("plain", "job-deleted"): Case(
        act=delete_job,
        reason="deleted",
        # The reconciler observes the missing Job or the ending pod.
        error=rf"Job gregory-train-\w{{12}}-a1 no longer exists and left no report: .*|the Job of {POD} was deleted, and .*",
    ),
    ("small", "memory"): Case(
        changes=actions.limits(memory="40Mi"),
        reason="out_of_memory",
        exit_code=137,
        error=rf"OOMKilled: {POD} ran out of memory: its limit is 40Mi \(exit code 137\); raise resources\.limits\.memory .*",
    ),
    ("tight", "child"): Case(
        changes={**actions.limits(memory="160Mi"), "image": REAL},
        reason="out_of_memory",
        error=r"out of memory: the kernel killed the worker \(signal 9, SIGKILL\) in stage train-lgbm_tfidf .*; the limit is 160 MiB.*",
        exit_code=1,
    ),
    # The reconciler's cluster file has neither change, so the next attempt succeeds.
    ("admission", "devices"): Case(changes={"gpu": {"count": 3, "required": False}, **actions.pod_patch(nodeName=NODE)}, **RETRIED),
    ("disk", "limit"): Case(
        changes={"resources": {"requests": {"ephemeral-storage": "1k"}, "limits": {"ephemeral-storage": "1k"}}},
        act=continue_after_eviction,
        **RETRIED,
    ),
    ("late", "deadline"): Case(
        changes={"deadlines": {"imagePullSeconds": 12, "runSeconds": 12}},
        reason="deadline",
        error=rf"{POD}: it worked longer than the deadline of its pod "
        r"\(Pod was active on the node longer than the specified deadline\); .*",
    ),
    ("image", "tag"): Case(
        changes={"image": {"tag": "none"}},
        reason="image_pull",
        error=r'(ErrImagePull|ImagePullBackOff): .*"gregory\.test/scripted:none".*; '
        r"for \d+ s, and deadlines\.imagePullSeconds is 60; check that .*",
    ),
    ("quota", "pods"): Case(
        changes={"priorityClassName": "counted"},
        reason="refused",
        error=r"FailedCreate: Error creating: pods .* exceeded quota: none, .*; for \d+ s, and deadlines\.pendingSeconds is 60; .*",
    ),
    ("account", "missing"): Case(
        changes=actions.pod_patch(serviceAccountName="nobody"),
        reason="refused",
        error=r'FailedCreate: .*serviceaccount "nobody" not found; for \d+ s, and deadlines\.imagePullSeconds is 60; .*',
    ),
    ("claim", "unbound"): Case(
        changes=actions.mounted_claim("unbound"),
        reason="missing_object",
        error=r"unschedulable: .*unbound immediate PersistentVolumeClaims.*; for \d+ s, .*; find out why the claim is not bound: .*",
    ),
    ("claim-missing", "none"): Case(
        changes=actions.mounted_claim("none"),
        reason="missing_object",
        error=r'unschedulable: .*persistentvolumeclaim "none" not found.*; for \d+ s, .*',
    ),
    ("secret", "key"): Case(
        changes={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "database", "key": "NO_KEY"}}}]},
        reason="missing_object",
        error=r"CreateContainerConfigError: couldn't find key NO_KEY in Secret .*/database; "
        r"for \d+ s, .*; create the object that it names, .*",
    ),
    ("gpus", "three"): Case(
        changes={"gpu": {"count": 3, "required": False}},
        reason="unschedulable",
        error=rf"unschedulable: 0/1 nodes are available: 1 Insufficient {GPU}.*; for \d+ s, and deadlines\.pendingSeconds is 60; .*",
    ),
    ("product", "h100"): Case(
        changes={"nodeSelector": {"nvidia.com/gpu.product": "H100"}},
        reason="unschedulable",
        error=r"unschedulable: 0/1 nodes are available: 1 node\(s\) didn't match Pod's node affinity/selector.*; for \d+ s, .*",
    ),
    ("mig", "slice"): Case(
        changes={"gpu": {"resource": "nvidia.com/mig-3g.20gb", "count": 1, "required": False}},
        reason="unschedulable",
        error=r"unschedulable: 0/1 nodes are available: 1 Insufficient nvidia\.com/mig-3g\.20gb.*; for \d+ s, .*",
    ),
    ("no-report", "zero"): Case(
        changes={"image": {"repository": run_image.NO_REPORT.rpartition(":")[0]}},
        reason="no_report",
        exit_code=0,
        error=rf"{POD} exited with code 0 and left no report; read its log",
    ),
    ("exit-1", "reported"): Case(
        changes={"image": {"repository": run_image.EXIT_1.rpartition(":")[0]}}, success=True, state="succeeded", error="None", exit_code=0
    ),
    ("plain", "cancelled"): Case(act=cancel, reason="cancelled", state="cancelled", error="cancelled by .*@.*"),
    ("plain", "cancelled-suspended"): Case(act=cancel_suspended, reason="cancelled", state="cancelled", error="cancelled by .*@.*"),
    ("gpus", "cancelled"): Case(
        changes={"gpu": {"count": 3, "required": False}},
        act=cancel,
        waits_for="Insufficient",
        reason="cancelled",
        state="cancelled",
        error="cancelled by .*@.*",
    ),
    ("image", "cancelled"): Case(
        changes={"image": {"tag": "none"}},
        act=cancel,
        waits_for="gregory.test/scripted:none",
        reason="cancelled",
        state="cancelled",
        error="cancelled by .*@.*",
    ),
}
# Runs whose training stays stopped, without an action.
STOPPED = (("late", "deadline"),)
# FINISHING has two correct ends. FROZEN needs its whole grace period.
FINISHING, FROZEN = ("plain", "finishing"), ("plain", "frozen")


@pytest.fixture(scope="module")
def all_started(production: Production) -> Iterator[Production]:
    """Start every run, apply every action, and keep one reconciler running."""
    production.cluster_namespace.config["tolerations"] = TOLERANT
    production.cluster_namespace.config["deadlines"] = LATE
    cluster, here = production.cluster_namespace.cluster, {"namespace": production.cluster_namespace.namespace}
    counted = {"operator": "In", "scopeName": "PriorityClass", "values": ["counted"]}
    unbound = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}}
    cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "counted"}, "value": 0},
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none", **here},
            "spec": {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [counted]}},
        },
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "unbound", **here}, "spec": unbound},
        *([devices.template("of-no-class", "none.gregory.test", "true", **here)] if devices.are_allocated() else []),
    )
    cluster.add_driver()
    teams: dict[str, dict[str, Any]] = {team: case.changes for (team, _), case in CASES.items()}
    production.subjects_of_teams((*CASES, FINISHING, FROZEN))
    acts = {key: case.act for key, case in CASES.items() if case.act} | {FINISHING: cancel_while_it_ends, FROZEN: freeze}

    def act_when_ready(key: tuple[str, str]) -> None:
        words = CASES[key].waits_for if key in CASES else ""
        row = production.until(*key, lambda row: words in row["waiting_for"] if words else production.held.holds(row["run_id"]))
        production.held.let_go(row["run_id"], on=False)
        acts[key](production, row)

    with production.reconciling(), ThreadPoolExecutor(len(acts)) as pool:
        actions_running = []
        for team, changes in teams.items():
            with production.held.all():
                production.train(team, **changes)
                for subject in (subject for found, subject in (*acts, *STOPPED) if found == team):
                    production.held.hold(production.row(team, subject)["run_id"])
            actions_running += [pool.submit(act_when_ready, key) for key in acts if key[0] == team]
        for act in actions_running:
            act.result()
        yield production
    cluster.remove_driver()
    for name in ("counted", production.cluster_namespace.namespace):
        cluster.must("delete", "priorityclass", name)


def ended(production: Production, team: str, subject: str) -> Row:
    return production.until(team, subject, lambda row: row["success"] is not None and row["state"] in ("succeeded", "failed", "cancelled"))


@pytest.mark.parametrize("key", CASES, ids="-".join)
def test_row_has_the_expected_end(all_started: Production, key: tuple[str, str]):
    case = CASES[key]

    row = ended(all_started, *key)

    assert (row["success"], row["reason"], row["state"], row["attempt"]) == (case.success, case.reason, case.state, case.attempt), row
    assert re.fullmatch(case.error, str(row["error"]), re.DOTALL), row["error"]
    assert row["finished"]
    assert row["run_reason"] == case.reason
    if case.exit_code is not None:
        assert row["exit_code"] == case.exit_code
    if case.success:
        assert (all_started.models / row["artifact"] / "manifest.json").exists()


def at_rest(job: dict[str, Any], pods: list[Row]) -> str:
    """The time after which no container of the Job runs: the end of its pod, or the condition of the Job if that is earlier."""
    moments = [found["lastTransitionTime"] for kind in ("FailureTarget", "Failed") if (found := condition(job, kind))]
    for pod in pods:
        if pod["metadata"]["labels"][CONTROLLER_UID] == job["metadata"]["uid"] and pod["status"]["phase"] == "Failed":
            # In this phase no container runs. If the node did not observe the end, or no container began, there is no end time.
            finished, unready = (terminated(pod) or {}).get("finishedAt"), condition(pod, "ContainersReady", status="False")
            moments.append(finished or (unready or {}).get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
    return min(moments)


@pytest.mark.parametrize(
    ("key", "reason", "words"),
    [
        (("plain", "evicted"), "evicted", "evicted through the Eviction API, as kubectl drain and autoscalers do"),
        (("plain", "pod-deleted"), "interrupted", "was deleted"),
        (("untolerant", "tainted"), "evicted", "evicted: its node got a taint, NoExecute, that it does not tolerate"),
        (("gpu", "preempted"), "preempted", "preempted: a pod of higher priority got its place"),
        (("disk", "limit"), "evicted", "evicted: it used more disk than its limit (Pod ephemeral local storage usage exceeds "),
        (("admission", "devices"), "evicted", f"was rejected by its node {NODE}: UnexpectedAdmissionError: "),
    ],
    ids=["evicted", "pod-deleted", "tainted", "preempted", "disk", "admission"],
)
def test_disruption_leads_to_one_retry_after_the_end_of_the_first_attempt(
    all_started: Production, key: tuple[str, str], reason: str, words: str
):
    """C3: each disruption has its own reason, and the reconciler retries it."""
    row = ended(all_started, *key)

    (event,) = [event for event in all_started.events(row["run_id"]) if event["kind"] == "retried"]
    assert reason in event["message"], event
    assert words in event["message"], event
    first, second = sorted(all_started.jobs_of(row["run_id"]), key=lambda job: str(job["metadata"]["name"]))
    assert [job["metadata"]["name"][-2:] for job in (first, second)] == ["a1", "a2"]
    assert condition(first, "Failed") is not None
    assert at_rest(first, all_started.pods_of(row["run_id"])) <= second["metadata"]["creationTimestamp"]
    # The cluster can remove the others before they have done any work.
    if key[0] not in ("admission", "disk"):
        assert "summarise: done by an earlier attempt" in all_started.log(row)


def test_row_of_a_killed_run_has_its_log_tail(all_started: Production):
    """C1."""
    row = ended(all_started, "plain", "killed")

    assert f"Started run {row['run_id']}: lgbm_tfidf; all articles" in row["log_tail"]
    assert f"Started training version {row['version']}" in row["log_tail"]
    assert row["node"] == NODE


def test_suspended_run_continues_from_its_finished_stage(all_started: Production):
    """C11: Kueue preempts a run by suspending its Job and resuming it later."""
    row = ended(all_started, "plain", "suspended")

    assert [event["kind"] for event in all_started.events(row["run_id"])] == ["suspended"]
    log = all_started.log(row)
    assert "summarise: done by an earlier attempt" in log
    assert len(all_started.jobs_of(row["run_id"])) == 1


@pytest.mark.skipif(not devices.are_allocated(), reason="this version of Kubernetes has no API of devices")
def test_a_claimed_run_got_its_device_from_the_driver(all_started: Production):
    ended(all_started, "claimed", "device")

    assert prepared(all_started, "gpu") == [all_started.row("claimed", "device")["job"]]


def test_an_extended_resource_is_a_device_of_the_driver_if_kubernetes_serves_it(all_started: Production):
    ended(all_started, "extended", "resource")

    of_the_class = f"deviceclass.resource.kubernetes.io/{devices.DRIVER}"
    findings = {resource: of_gpu(all_started, resource) for resource in (devices.EXTENDED, of_the_class)}

    if devices.are_extended_resources():
        assert prepared(all_started, "extended-resources") == [all_started.row("extended", "resource")["job"]]
        for resource, finding in findings.items():
            by = f"DeviceClass {devices.DRIVER}, which serves {resource},"
            assert finding == f"OK      cluster     the drivers offer 4 devices, and {by} selects 1 of them for a run"
        return
    assert findings[devices.EXTENDED].startswith(f"ERROR   cluster     no node offers 1 {devices.EXTENDED}; ")
    if devices.are_allocated():
        assert findings[of_the_class].startswith(f"WARNING cluster     no node offers {of_the_class}, and Kubernetes 1.")
        assert "only with the feature gate DRAExtendedResource" in findings[of_the_class]
    else:
        assert findings[of_the_class].startswith(f"ERROR   cluster     no node offers 1 {of_the_class}; ")


def of_gpu(production: Production, resource: str) -> str:
    """The line of preflight about this resource of the GPU."""
    namespace = production.cluster_namespace
    installation = replace(namespace, config=merged(namespace.config, {"gpu": {"resource": resource, "count": 1}})).installation()
    return str(list(check_cluster(installation.environment, inherited=installation.inherited))[-1])


def prepared(production: Production, claim: str) -> list[str]:
    """The Jobs for whose pods the driver has prepared a claim of this name."""
    driver = production.cluster_namespace.cluster.daemons[devices.DRIVER].log.read_text()
    return re.findall(rf"^prepared (gregory-train-\w{{12}}-a1)-\w+-{claim}-\w+$", driver, re.MULTILINE)


def test_image_that_arrives_after_the_deadline_starts_nothing(all_started: Production):
    """C5."""
    row = ended(all_started, "image", "tag")
    assert (all_started.jobs_of(row["run_id"]), all_started.pods_of(row["run_id"])) == ([], [])

    all_started.cluster_namespace.cluster._must_ctr("images", "tag", "--force", run_image.SCRIPTED, "gregory.test/scripted:none")

    time.sleep(3)
    assert all_started.pods_of(row["run_id"]) == []
    assert all_started.row("image", "tag") == row


def test_reported_success_counts_more_than_the_exit_code(all_started: Production):
    """C15."""
    row = ended(all_started, "exit-1", "reported")

    all_started.cluster_namespace.cluster.until(lambda: is_finished(all_started.jobs_of(row["run_id"])[0]), what="the Job to have failed")
    (job,) = all_started.jobs_of(row["run_id"])
    assert condition(job, "Failed") is not None
    assert all_started.row("exit-1", "reported") == row


def test_cancelling_a_finishing_run_gives_one_of_two_ends(all_started: Production):
    """C14."""
    row = ended(all_started, *FINISHING)

    assert (row["success"], row["reason"], row["state"]) in [(True, "", "succeeded"), (False, "cancelled", "cancelled")]
    assert all_started.pods_of(row["run_id"]) == [] or row["success"]


def test_frozen_run_is_terminated_as_stalled(all_started: Production):
    """C17: no process of the run can report anything."""
    row = ended(all_started, *FROZEN)

    assert (row["success"], row["reason"], row["state"]) == (False, "stalled", "failed")
    assert row["error"].startswith("stalled: no heartbeat for ")
    assert pod_processes.of_run(row["run_id"]) == []


def test_deleting_the_job_of_a_succeeded_run_changes_nothing(all_started: Production):
    """C13: the same holds for a Job that the cluster removes after its time to live."""
    row = ended(all_started, "plain", "undisturbed")

    all_started.cluster_namespace.kubectl("delete", "job", row["job"])

    with suppress(AssertionError):
        all_started.until("plain", "undisturbed", lambda now: now != row, seconds=5)
    assert all_started.row("plain", "undisturbed") == row


def test_no_row_is_open_and_no_two_workers_overlapped(all_started: Production):
    for key in (*CASES, FINISHING, FROZEN):
        ended(all_started, *key)

    assert all_started.sql("SELECT id FROM gregory_predictionrunlog WHERE success IS NULL") == []
    assert "0 unfinished runs, 0 closed" in all_started.reconcile()
    assert "all complete and unchanged" in all_started.verify()
    assert list((all_started.models / MARKS).glob("*/*.overlap")) == []
