"""Disruptions of a run by the cluster, with the objects that the cluster then shows. Only `--record` runs this module.

Each disruption has its own reason and message. test_rows_ends.py and test_rows_outages.py cover all of them down to the database row.
"""

import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from gregory.launch.kubernetes.diagnose.pod_status import is_finished
from gregory.launch.runner import Observation, Status
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle
from tests.kubernetes import actions
from tests.kubernetes.causes import GREEDY
from tools.cluster.cluster import NODE
from tools.cluster.namespace import LINGERS, SLEEPS, ClusterNamespace, a_run, pod_of

pytestmark = pytest.mark.slow

Record = Callable[[str], None]
Change = Callable[[dict[str, Any]], object]
TAINT = "gregory-train/test=taint:NoExecute"


def alive(seen: Observation) -> bool:
    return seen.status is Status.ALIVE


def terminated(seen: Observation) -> bool:
    return seen.status is Status.TERMINATED


def started(
    cluster_namespace: ClusterNamespace, code: str = SLEEPS, *, held: bool = False, change: Change | None = None
) -> tuple[RunHandle, str]:
    """A run that has begun, and its pod.

    held: a finalizer keeps the pod visible after its end.
    """

    def apply(job: dict[str, Any]) -> None:
        if held:
            job["spec"]["template"]["metadata"]["finalizers"] = ["gregory.test/held"]
        if change is not None:
            change(job)

    handle = cluster_namespace.start(code, change=apply)
    cluster_namespace.until(handle, alive)
    spec_of_log = ["logs", f"job/{handle.name}", "--namespace", cluster_namespace.namespace]
    cluster_namespace.cluster.until(lambda: "ready" in cluster_namespace.cluster.kubectl(*spec_of_log).stdout, what="the run to have begun")
    return handle, names_of_pods(cluster_namespace, handle)[0]


def names_of_pods(cluster_namespace: ClusterNamespace, handle: RunHandle) -> list[str]:
    return [pod["metadata"]["name"] for pod in cluster_namespace.pods() if pod["metadata"]["name"].startswith(handle.name)]


def remove_pod(cluster_namespace: ClusterNamespace, handle: RunHandle, pod: str) -> None:
    """Remove a pod that has ended, as a garbage collector does."""
    cluster_namespace.kubectl("delete", "pod", pod, "--wait=false")
    actions.release_pod(cluster_namespace, pod)
    cluster_namespace.cluster.until(lambda: not names_of_pods(cluster_namespace, handle), what="the pod to be gone")


def end_of(cluster_namespace: ClusterNamespace, handle: RunHandle, record: Record, cause: str) -> Observation:
    """The observation from the pod. The later observation from Job and events must have the same reason."""
    first = cluster_namespace.until(handle, terminated)
    record(cause)
    (pod,) = names_of_pods(cluster_namespace, handle)
    cluster_namespace.cluster.until(lambda: is_finished(cluster_namespace.get("job", handle.name)), what="the Job to have failed")
    remove_pod(cluster_namespace, handle, pod)
    later = cluster_namespace.until(handle, terminated)
    record(f"{cause}_pod_gone")
    assert (later.status, later.reason) == (Status.TERMINATED, first.reason), later.text
    return first


def test_killed_by_hand(cluster_namespace: ClusterNamespace, record: Record):
    marker = a_run().run_id
    handle, pod = started(cluster_namespace, f"'{marker}'; {SLEEPS}", held=True)
    (process,) = [p for p in psutil.process_iter(["cmdline"]) if any(marker in word for word in p.info["cmdline"] or ())]

    process.send_signal(signal.SIGKILL)

    seen = end_of(cluster_namespace, handle, record, "killed")
    assert (seen.reason, seen.diagnosis.exit_code, seen.node) == (Reason.KILLED, 137, NODE)
    assert seen.text == (
        f"pod {pod} was ended by signal 9 (SIGKILL), exit code 137, not because of its memory; find the sender on node {NODE}\n"
        "last lines of its log:\nready"
    )


def test_out_of_memory_without_its_pod_is_no_deletion(cluster_namespace: ClusterNamespace, record: Record):
    handle, pod = started(cluster_namespace, f"import time; print('ready', flush=True); time.sleep(8); {GREEDY}", held=True)
    cluster_namespace.cluster.until(lambda: is_finished(cluster_namespace.get("job", handle.name)), what="the Job to have failed")

    remove_pod(cluster_namespace, handle, pod)

    # Another process did not observe the pod.
    seen = cluster_namespace.until(handle, terminated)
    record("out_of_memory_pod_gone")
    assert (seen.reason, "perhaps because of its memory" in seen.text) == (Reason.KILLED, True), seen.text


def test_evicted_through_the_api(cluster_namespace: ClusterNamespace, record: Record):
    handle, pod = started(cluster_namespace, LINGERS.format(2), held=True)

    actions.evict_pod(cluster_namespace, pod)

    ending = cluster_namespace.see(handle)
    assert (ending.status, ending.text) == (Status.ALIVE, f"pod {pod} is ending on node {NODE}")
    seen = end_of(cluster_namespace, handle, record, "evicted")
    assert seen.reason is Reason.EVICTED
    assert f"pod {pod}: evicted through the Eviction API, as kubectl drain and autoscalers do" in seen.text


@pytest.fixture
def tainted(cluster_namespace: ClusterNamespace) -> Iterator[Callable[[], None]]:
    yield lambda: cluster_namespace.cluster.must("taint", "node", NODE, TAINT) and None
    cluster_namespace.cluster.must("taint", "node", NODE, f"{TAINT}-")


def test_evicted_by_a_taint(cluster_namespace: ClusterNamespace, tainted: Callable[[], None], record: Record):
    handle, pod = started(cluster_namespace, LINGERS.format(2), held=True)

    tainted()

    seen = end_of(cluster_namespace, handle, record, "tainted")
    assert seen.reason is Reason.EVICTED
    assert f"pod {pod}: evicted: its node got a taint, NoExecute, that it does not tolerate" in seen.text


@pytest.fixture
def priority(cluster_namespace: ClusterNamespace) -> Iterator[str]:
    name = cluster_namespace.namespace
    cluster_namespace.cluster.apply(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000}
    )
    yield name
    cluster_namespace.cluster.must("delete", "priorityclass", name)


def test_preempted(cluster_namespace: ClusterNamespace, priority: str, record: Record):
    cluster_namespace.config["gpu"] = {"count": 2}
    handle, pod = started(cluster_namespace, LINGERS.format(2), held=True)
    cluster_namespace.config["priorityClassName"] = priority

    stronger = cluster_namespace.start(SLEEPS)

    seen = end_of(cluster_namespace, handle, record, "preempted")
    assert seen.reason is Reason.PREEMPTED
    assert f"pod {pod}: preempted: a pod of higher priority got its place" in seen.text
    cluster_namespace.until(stronger, alive)


@pytest.fixture
def peer(cluster_namespace: ClusterNamespace) -> Iterator[None]:
    cluster_namespace.cluster.add_peer("peer")
    yield
    cluster_namespace.cluster.remove_peer("peer")


def test_a_lost_node_leaves_it_unknown_until_its_node_is_gone(cluster_namespace: ClusterNamespace, peer: None, record: Record):
    cluster = cluster_namespace.cluster
    # Enough time to observe the silence before the eviction, also on a busy machine.
    unreachable = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 15}
    handle, pod = started(cluster_namespace, held=True, change=lambda job: pod_of(job).update(tolerations=[unreachable]))

    cluster.kill("kubelet")

    silent = cluster_namespace.until(handle, lambda seen: seen.status is not Status.ALIVE)
    record("node_silent")
    assert (silent.status, silent.text) == (Status.UNKNOWN, f"node {NODE}, which has pod {pod}, does not answer the cluster")
    # The node controller does the same, unless it loses the peer too, which happened on a busy machine.
    cluster.must("taint", "node", NODE, "node.kubernetes.io/unreachable:NoExecute", "--overwrite")
    cluster.until(lambda: "deletionTimestamp" in cluster_namespace.get("pod", pod)["metadata"], what="the eviction")
    for _ in range(5):
        assert cluster_namespace.see(handle).status is not Status.TERMINATED
        time.sleep(0.2)
    cluster.must("delete", "node", NODE)
    lost = end_of(cluster_namespace, handle, record, "node_lost")
    assert lost.reason is Reason.NODE_LOST, lost.text


def test_a_node_without_power_loses_the_container(cluster_namespace: ClusterNamespace, record: Record):
    cluster = cluster_namespace.cluster
    marker = a_run().run_id
    handle, pod = started(cluster_namespace, f"'{marker}'; {SLEEPS}", held=True)

    for daemon in ("kubelet", "containerd"):
        cluster.kill(daemon)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(marker in word for word in words) or (f"{cluster.folder}/containerd.sock" in words and "shim" in words[0]):
            process.kill()
    cluster.heal()

    seen = end_of(cluster_namespace, handle, record, "power_lost")
    assert seen.reason is Reason.NODE_LOST, seen.text
    assert seen.text.startswith(f"pod {pod}: its node was down or restarted, and lost its container (")


def test_a_job_that_is_deleted_by_hand_is_missing(cluster_namespace: ClusterNamespace, record: Record):
    handle, _ = started(cluster_namespace, LINGERS.format(2))

    cluster_namespace.kubectl("delete", "job", handle.name, "--wait=false")

    assert cluster_namespace.see(handle).status is Status.ALIVE
    seen = cluster_namespace.until(handle, terminated)
    assert seen.reason is Reason.DELETED
    cluster_namespace.cluster.until(lambda: not cluster_namespace.pods(), what="the pod to be gone")
    gone = cluster_namespace.see(handle)
    record("job_deleted")
    assert (gone.status, gone.reason, gone.missing) == (Status.TERMINATED, Reason.DELETED, True)
    assert gone.text == f"Job {handle.name} no longer exists and left no report: it was deleted, or removed long after its end; resume it"


def test_a_pod_that_is_deleted_by_hand(cluster_namespace: ClusterNamespace, record: Record):
    handle, pod = started(cluster_namespace, LINGERS.format(2), held=True)

    cluster_namespace.kubectl("delete", "pod", pod, "--wait=false")

    seen = end_of(cluster_namespace, handle, record, "pod_deleted")
    assert (seen.reason, seen.diagnosis.exit_code) == (Reason.INTERRUPTED, 143), seen.text
    assert re.match(r"pod .* was deleted; its run stopped in order, exit code 143; find the cause of the deletion", seen.text)


def test_a_suspended_run_is_queued_again_and_goes_on(cluster_namespace: ClusterNamespace, record: Record):
    # The finalizer keeps the failed pod visible, as a slow unmount does.
    handle, pod = started(cluster_namespace, LINGERS.format(1), held=True)

    actions.set_suspended(cluster_namespace, handle.name, suspended=True)

    lives: list[Status] = []

    def queued(seen: Observation) -> bool:
        lives.append(seen.status)
        return seen.text == f"queued: Job {handle.name} is suspended"

    cluster_namespace.until(handle, lambda seen: queued(seen) or "was suspended and its pod" in seen.text)
    # The Job controller reads the pods again one second after a change.
    for _ in range(15):
        queued(cluster_namespace.see(handle))
        time.sleep(0.2)
    actions.release_pod(cluster_namespace, pod)
    cluster_namespace.until(handle, queued)
    record("suspended")
    # The pod ended with an exit code of a failure. The run has not failed.
    assert Status.TERMINATED not in lives
    actions.set_suspended(cluster_namespace, handle.name, suspended=False)
    assert pod not in cluster_namespace.until(handle, alive).text


def test_quota_holds_a_run_back_and_is_told(cluster_namespace: ClusterNamespace, record: Record):
    metadata = {"name": "none", "namespace": cluster_namespace.namespace}
    cluster_namespace.cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}})
    cluster_namespace.cluster.until(
        lambda: cluster_namespace.get("resourcequota", "none").get("status", {}).get("hard"), what="the quota to count"
    )
    cluster_namespace.config["deadlines"] = {"pendingSeconds": 4}
    handle = cluster_namespace.start(SLEEPS)

    waiting = cluster_namespace.until(handle, lambda seen: "exceeded quota" in seen.text)
    assert (waiting.status, waiting.reason) == (Status.PENDING, None)
    seen = cluster_namespace.until(handle, lambda seen: seen.reason is not None)
    record("quota")

    assert (seen.status, seen.reason) == (Status.PENDING, Reason.REFUSED)
    assert re.fullmatch(
        r"FailedCreate: Error creating: pods .* exceeded quota: none, .*; for \d s, and deadlines\.pendingSeconds is 4; wait for other .*",
        seen.text,
    )
