"""Whatever ends a run on a cluster, its rows say it: real trainings, each brought to another end, with one reconciler that looks after all.

All of them are at work in one namespace at the same time. Two causes cannot be had here: a node that runs short would be this machine, so
a run's own disk limit stands for the kubelet's evictions; and CUDA that fails needs a GPU (C3, C24).
"""

import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from gregory.launch.kubernetes.diagnose.pod_status import condition, is_finished, terminated
from gregory.launch.kubernetes.labels import CONTROLLER_UID
from tests.kubernetes import actions, pod_processes
from tests.kubernetes.production import Production, Row
from tools.cluster import run_image
from tools.cluster.cluster import GPU, NODE

pytestmark = pytest.mark.slow

TAINT = "gregory-train/test"
POD = r"pod gregory-train-\w{12}-a\d-\w{5}"
LATE = {"pendingSeconds": 25, "imagePullSeconds": 25}
TOLERANT = [{"operator": "Exists"}]
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
    cluster.until(lambda: cluster.kubectl(*gone).returncode != 0, what="the tainted node to be left")
    cluster.must("taint", "node", NODE, f"{TAINT}-")


def preempt(production: Production, row: Row) -> None:
    """By a pod that has its GPUs for two seconds."""
    cluster_namespace, name = production.cluster_namespace, production.cluster_namespace.namespace
    cluster_namespace.cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000}
    )
    container = {"name": "any", "image": run_image.NAME, "command": ["sleep", "2"], "resources": {"limits": {GPU: "2"}}}
    spec = {"priorityClassName": name, "restartPolicy": "Never", "tolerations": TOLERANT, "containers": [container]}
    metadata = {"name": "stronger", "namespace": name}
    cluster_namespace.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def kill(production: Production, row: Row) -> None:
    pod_processes.send(row["run_id"], signal.SIGKILL)


def delete_job(production: Production, row: Row) -> None:
    production.cluster_namespace.kubectl("delete", "job", row["job"])
    # A minute of the database's clock.
    production.until("deleted", "job", lambda row: row["missing_since"] or row["success"] is not None)
    production.age(row["run_id"], "missing_since", 121)


def suspend_and_resume(production: Production, row: Row) -> None:
    cluster_namespace = production.cluster_namespace
    actions.set_suspended(cluster_namespace, row["job"], suspended=True)
    queued = production.until("plain", "suspended", lambda row: "is suspended" in row["waiting_for"])
    assert (queued["state"], queued["success"], queued["attempt"]) == ("submitted", None, 1)
    assert production.pods_of(row["run_id"]) == []
    actions.set_suspended(cluster_namespace, row["job"], suspended=False)


def stand_still(production: Production, row: Row) -> None:
    """The stage for good, half an hour ago, by the clock of the database."""
    production.age(row["run_id"], "progress_at", 1801)


def go_on_elsewhere(production: Production, row: Row) -> None:
    """It stands still until it is taken away; that may be before its training begins."""
    production.until(row["team"], row["subject"], lambda row: row["attempt"] == 2)
    pod_processes.send(row["run_id"], signal.SIGCONT)


def freeze(production: Production, row: Row) -> None:
    """The whole run."""
    pod_processes.send(row["run_id"], signal.SIGSTOP)
    production.age(row["run_id"], "progress_at", 1801)


def cancel(production: Production, row: Row) -> None:
    done = production.installation.manage("training_runs", "cancel", row["run_id"], GREGORY_CLUSTER_CONFIG=production.cluster_file())
    # Too late, where the run is quicker.
    assert done.returncode == 0 or "has already ended: succeeded" in done.stderr, done.stdout + done.stderr
    assert [found for found in production.pods_of(row["run_id"]) if found["status"]["phase"] in ("Pending", "Running")] == []


def cancel_suspended(production: Production, row: Row) -> None:
    actions.set_suspended(production.cluster_namespace, row["job"], suspended=True)
    production.until("cancelled", "suspended", lambda row: "is suspended" in row["waiting_for"])
    cancel(production, row)


def cancel_while_it_ends(production: Production, row: Row) -> None:
    production.held.let_go(row["run_id"])
    cancel(production, row)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the cluster file changes, what is done to the run, when (at work, waiting for something), and what its row says in the end."""

    changes: dict[str, Any] = field(default_factory=dict)
    act: Act | None = None
    waits_for: str = ""
    success: bool = False
    reason: str = ""
    state: str = "failed"
    attempt: int = 1
    error: str = ""
    exit_code: int | None = None


TRIED = {"success": True, "state": "succeeded", "attempt": 2, "error": "None"}
CASES: dict[tuple[str, str], Case] = {
    ("plain", "undisturbed"): Case(success=True, state="succeeded", error="None"),
    ("plain", "killed"): Case(
        act=kill,
        reason="killed",
        exit_code=137,
        error=rf"{POD} was ended by signal 9 \(SIGKILL\), exit code 137, not because of its memory; find the sender on node {NODE}; .*",
    ),
    ("plain", "evicted"): Case(act=evict, **TRIED),
    ("plain", "pod-deleted"): Case(act=delete_pod, **TRIED),
    ("plain", "suspended"): Case(act=suspend_and_resume, success=True, state="succeeded", error="None"),
    ("untolerant", "tainted"): Case(changes={"tolerations": []}, act=taint, **TRIED),
    ("gpu", "preempted"): Case(changes={"gpu": {"count": 2, "required": False}}, act=preempt, **TRIED),
    ("plain", "stalled"): Case(
        act=stand_still, reason="stalled", error=r"(stalled: no progress for \d{4} s, the limit is 1800 s; last heartbeat \d+ s ago; .*)"
    ),
    ("deleted", "job"): Case(
        act=delete_job,
        reason="deleted",
        # By whichever is seen.
        error=rf"Job gregory-train-\w{{12}}-a1 no longer exists and left no report: .*|the Job of {POD} was deleted, and .*",
    ),
    ("small", "memory"): Case(
        changes=actions.limits(memory="40Mi"),
        reason="out_of_memory",
        exit_code=137,
        error=rf"OOMKilled: {POD} ran out of memory: its limit is 40Mi \(exit code 137\); raise resources\.limits\.memory .*",
    ),
    ("tight", "child"): Case(
        changes=actions.limits(memory="160Mi"),
        reason="out_of_memory",
        error=r"out of memory: the kernel killed the worker \(signal 9, SIGKILL\) in stage train-lgbm_tfidf .*; the limit is 160 MiB.*",
        exit_code=1,
    ),
    # The next attempts are as the reconciler's own cluster file says, with neither.
    ("admission", "devices"): Case(changes={"gpu": {"count": 3, "required": False}, **actions.pod_patch(nodeName=NODE)}, **TRIED),
    ("disk", "limit"): Case(changes=actions.limits(**{"ephemeral-storage": "1k"}), act=go_on_elsewhere, **TRIED),
    ("late", "deadline"): Case(
        changes={"deadlines": {"imagePullSeconds": 12, "runSeconds": 12}},
        reason="deadline",
        error=rf"{POD}: it worked longer than the deadline of its pod \(Pod was active on the node longer than the specified deadline\); .*",
    ),
    ("image", "tag"): Case(
        changes={"image": {"tag": "none"}},
        reason="image_pull",
        error=r'(ErrImagePull|ImagePullBackOff): .*"gregory\.test/slim:none".*; for \d+ s, and deadlines\.imagePullSeconds is 25; see .*',
    ),
    ("quota", "pods"): Case(
        changes={"priorityClassName": "counted"},
        reason="refused",
        error=r"FailedCreate: Error creating: pods .* exceeded quota: none, .*; for \d+ s, and deadlines\.pendingSeconds is 25; .*",
    ),
    ("account", "missing"): Case(
        changes=actions.pod_patch(serviceAccountName="nobody"),
        reason="refused",
        error=r'FailedCreate: .*serviceaccount "nobody" not found; for \d+ s, and deadlines\.imagePullSeconds is 25; .*',
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
        error=r"CreateContainerConfigError: couldn't find key NO_KEY in Secret .*/database; for \d+ s, .*; create what it names: .*",
    ),
    ("gpus", "three"): Case(
        changes={"gpu": {"count": 3, "required": False}},
        reason="unschedulable",
        error=rf"unschedulable: 0/1 nodes are available: 1 Insufficient {GPU}.*; for \d+ s, and deadlines\.pendingSeconds is 25; .*",
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
    ("cancelled", "running"): Case(act=cancel, reason="cancelled", state="cancelled", error="cancelled by .*@.*"),
    ("cancelled", "suspended"): Case(act=cancel_suspended, reason="cancelled", state="cancelled", error="cancelled by .*@.*"),
    ("cancelled-gpus", "pending"): Case(
        changes={"gpu": {"count": 3, "required": False}},
        act=cancel,
        waits_for="Insufficient",
        reason="cancelled",
        state="cancelled",
        error="cancelled by .*@.*",
    ),
    ("cancelled-image", "pulling"): Case(
        changes={"image": {"tag": "other"}},
        act=cancel,
        waits_for="gregory.test/slim:other",
        reason="cancelled",
        state="cancelled",
        error="cancelled by .*@.*",
    ),
}
# Whatever comes, its worker stands still.
STANDING = (("late", "deadline"),)
# Both ends are right, never both at once; and what is frozen takes its whole grace.
FINISHING, FROZEN = ("finishing", "run"), ("frozen", "run")


@pytest.fixture(scope="module")
def all_started(production: Production) -> Iterator[Production]:
    """Every run on its way to its end, and somebody who looks after all of them."""
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
    )
    teams: dict[str, dict[str, Any]] = {team: case.changes for (team, _), case in CASES.items()} | {FINISHING[0]: {}, FROZEN[0]: {}}
    production.subjects_of_teams((*CASES, FINISHING, FROZEN))
    acts = {key: case.act for key, case in CASES.items() if case.act} | {FINISHING: cancel_while_it_ends, FROZEN: freeze}

    def act_in_time(key: tuple[str, str]) -> None:
        words = CASES[key].waits_for if key in CASES else ""
        row = production.until(
            *key, lambda row: words in row["waiting_for"] if words else production.held.holds(row["run_id"]), seconds=240
        )
        production.held.let_go(row["run_id"], on=False)
        acts[key](production, row)

    with production.reconciling(), ThreadPoolExecutor(len(acts)) as pool:
        under_way = []
        for team, changes in teams.items():
            production.train(team, **changes)
            for subject in (subject for found, subject in (*acts, *STANDING) if found == team):
                production.held.hold(production.row(team, subject)["run_id"])
            under_way += [pool.submit(act_in_time, key) for key in acts if key[0] == team]
        for act in under_way:
            act.result()
        yield production
    for name in ("counted", production.cluster_namespace.namespace):
        cluster.must("delete", "priorityclass", name)


def ended(production: Production, team: str, subject: str) -> Row:
    return production.until(
        team, subject, lambda row: row["success"] is not None and row["state"] in ("succeeded", "failed", "cancelled"), seconds=180
    )


@pytest.mark.parametrize("key", CASES, ids="-".join)
def test_its_row_says_how_it_ended(all_started: Production, key: tuple[str, str]):
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
    """Since when nothing of the Job can be at work: as it says itself, later than a pod that the kubelet has ended and left there."""
    moments = [found["lastTransitionTime"] for kind in ("FailureTarget", "Failed") if (found := condition(job, kind))]
    for pod in pods:
        if pod["metadata"]["labels"][CONTROLLER_UID] == job["metadata"]["uid"] and pod["status"]["phase"] == "Failed":
            # In this phase no container runs; of one whose end its node did not see no time is told, nor of one that never began.
            finished, unready = (terminated(pod) or {}).get("finishedAt"), condition(pod, "ContainersReady", status="False")
            moments.append(finished or (unready or {}).get("lastTransitionTime") or pod["metadata"]["creationTimestamp"])
    return min(moments)


@pytest.mark.parametrize(
    ("key", "reason", "words"),
    [
        (("plain", "evicted"), "evicted", "evicted through the Eviction API, as kubectl drain and autoscalers do"),
        (("plain", "pod-deleted"), "interrupted", "was deleted; its run stopped in order"),
        (("untolerant", "tainted"), "evicted", "evicted: its node got a taint, NoExecute, that it does not tolerate"),
        (("gpu", "preempted"), "preempted", "preempted: a pod of higher priority got its place"),
        (("disk", "limit"), "evicted", "evicted: it used more disk than its limit (Pod ephemeral local storage usage exceeds "),
        (("admission", "devices"), "evicted", f"was rejected by its node {NODE}: UnexpectedAdmissionError: "),
    ],
    ids=["evicted", "pod-deleted", "tainted", "preempted", "disk", "admission"],
)
def test_what_was_taken_away_is_tried_again_once_and_never_twice_at_a_time(
    all_started: Production, key: tuple[str, str], reason: str, words: str
):
    """C3: disruptions told apart, each tried again by the one owner of retries."""
    row = ended(all_started, *key)

    (event,) = [event for event in all_started.events(row["run_id"]) if event["kind"] == "retried"]
    assert reason in event["message"], event
    assert words in event["message"], event
    first, second = sorted(all_started.jobs_of(row["run_id"]), key=lambda job: str(job["metadata"]["name"]))
    assert [job["metadata"]["name"][-2:] for job in (first, second)] == ["a1", "a2"]
    assert condition(first, "Failed") is not None
    assert at_rest(first, all_started.pods_of(row["run_id"])) <= second["metadata"]["creationTimestamp"]
    # The others may be taken away before they have done anything.
    if key[0] not in ("admission", "disk"):
        assert "summarise: done by an earlier attempt" in all_started.cluster_namespace.kubectl("logs", f"job/{row['job']}")


def test_the_log_s_end_is_kept_with_a_run_that_was_killed(all_started: Production):
    """C1."""
    row = ended(all_started, "plain", "killed")

    assert f"Started run {row['run_id']}: lgbm_tfidf; all articles" in row["log_tail"]
    assert f"Started training version {row['version']}" in row["log_tail"]
    assert row["node"] == NODE


def test_what_was_suspended_goes_on_where_it_stopped(all_started: Production):
    """C11: Kueue's preemption is a Job that is suspended and resumed."""
    row = ended(all_started, "plain", "suspended")

    assert [event["kind"] for event in all_started.events(row["run_id"])] == ["suspended"]
    log = all_started.cluster_namespace.kubectl("logs", f"job/{row['job']}")
    assert "summarise: done by an earlier attempt" in log
    assert len(all_started.jobs_of(row["run_id"])) == 1


def test_nothing_comes_of_an_image_that_is_there_too_late(all_started: Production):
    """C5."""
    row = ended(all_started, "image", "tag")
    assert (all_started.jobs_of(row["run_id"]), all_started.pods_of(row["run_id"])) == ([], [])

    all_started.cluster_namespace.cluster._must_ctr("images", "tag", "--force", run_image.NAME, "gregory.test/slim:none")

    time.sleep(3)
    assert all_started.pods_of(row["run_id"]) == []
    assert all_started.row("image", "tag") == row


def test_what_reports_success_and_ends_with_another_code_has_succeeded(all_started: Production):
    """C15."""
    row = ended(all_started, "exit-1", "reported")

    all_started.cluster_namespace.cluster.until(lambda: is_finished(all_started.jobs_of(row["run_id"])[0]), what="the Job to have failed")
    (job,) = all_started.jobs_of(row["run_id"])
    assert condition(job, "Failed") is not None
    assert all_started.row("exit-1", "reported") == row


def test_cancelled_while_it_finishes_it_is_one_or_the_other(all_started: Production):
    """C14."""
    row = ended(all_started, *FINISHING)

    assert (row["success"], row["reason"], row["state"]) in [(True, "", "succeeded"), (False, "cancelled", "cancelled")]
    assert all_started.pods_of(row["run_id"]) == [] or row["success"]


def test_a_frozen_run_is_ended_and_stalled(all_started: Production):
    """C17: nothing of it can say anything any more."""
    row = ended(all_started, *FROZEN)

    assert (row["success"], row["reason"], row["state"]) == (False, "stalled", "failed")
    assert row["error"].startswith("stalled: no progress for ")
    assert pod_processes.of_run(row["run_id"]) == []


def test_a_deleted_job_changes_nothing_of_a_run_that_succeeded(all_started: Production):
    """C13: so does a Job whose time is over."""
    row = ended(all_started, "plain", "undisturbed")

    all_started.cluster_namespace.kubectl("delete", "job", row["job"])

    with suppress(AssertionError):
        all_started.until("plain", "undisturbed", lambda now: now != row, seconds=5)
    assert all_started.row("plain", "undisturbed") == row


def test_nothing_is_left_open(all_started: Production):
    for key in (*CASES, FINISHING, FROZEN):
        ended(all_started, *key)

    assert all_started.sql("SELECT id FROM gregory_predictionrunlog WHERE success IS NULL") == []
    assert "0 unfinished runs, 0 closed" in all_started.reconcile()
    assert "all complete and unchanged" in all_started.verify()
