"""What a cluster does to a run: evictions of each kind, preemption, a lost node, hands from outside. Each has its own reason and words."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from gregory.launch.kubernetes.diagnose.pod_status import is_finished
from gregory.launch.runner import Life, Observation
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle
from tools.cluster.cluster import NODE
from tools.cluster.namespace import LINGERS, SLEEPS, Workplace, a_run, pod_of

pytestmark = pytest.mark.slow

Record = Callable[[str], None]
Change = Callable[[dict[str, Any]], object]
TAINT = "gregory-train/test=taint:NoExecute"


def alive(seen: Observation) -> bool:
    return seen.life is Life.ALIVE


def dead(seen: Observation) -> bool:
    return seen.life is Life.DEAD


def started(workplace: Workplace, code: str = SLEEPS, *, held: bool = False, change: Change | None = None) -> tuple[RunHandle, str]:
    """A run that has begun, and its pod. held: the pod stays to be seen after its end, until it is let go."""

    def apply(job: dict[str, Any]) -> None:
        if held:
            job["spec"]["template"]["metadata"]["finalizers"] = ["gregory.test/held"]
        if change is not None:
            change(job)

    handle = workplace.start(code, change=apply)
    workplace.until(handle, alive)
    spec_of_log = ["logs", f"job/{handle.name}", "--namespace", workplace.namespace]
    workplace.cluster.until(lambda: "ready" in workplace.cluster.kubectl(*spec_of_log).stdout, what="the run to have begun")
    return handle, names_of_pods(workplace, handle)[0]


def names_of_pods(workplace: Workplace, handle: RunHandle) -> list[str]:
    return [pod["metadata"]["name"] for pod in workplace.pods() if pod["metadata"]["name"].startswith(handle.name)]


def end_of(workplace: Workplace, handle: RunHandle, record: Record, cause: str) -> Observation:
    """As the pod tells it, and then as Job and events tell it once the pod is gone: both name one reason."""
    first = workplace.until(handle, dead, seconds=120)
    record(cause)
    (pod,) = names_of_pods(workplace, handle)
    workplace.cluster.until(lambda: is_finished(workplace.get("job", handle.name)), what="the Job to have failed")
    let_go(workplace, pod)
    workplace.cluster.until(lambda: not names_of_pods(workplace, handle), what="the pod to be gone")
    later = workplace.see(handle)
    record(f"{cause}_pod_gone")
    assert (later.life, later.reason) == (Life.DEAD, first.reason), later.detail
    return first


def let_go(workplace: Workplace, pod: str) -> None:
    """A pod that was held."""
    workplace.kubectl("patch", "pod", pod, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def evict(workplace: Workplace, pod: str) -> None:
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": workplace.namespace}}
    path = f"/api/v1/namespaces/{workplace.namespace}/pods/{pod}/eviction"
    workplace.cluster.must("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def test_killed_by_hand(workplace: Workplace, record: Record):
    marker = a_run().run_id
    handle, pod = started(workplace, f"'{marker}'; {SLEEPS}")
    (process,) = [p for p in psutil.process_iter(["cmdline"]) if any(marker in word for word in p.info["cmdline"] or ())]

    process.send_signal(signal.SIGKILL)

    seen = workplace.until(handle, dead)
    record("killed")
    assert (seen.reason, seen.exit_code, seen.node) == (Reason.KILLED, 137, NODE)
    assert seen.detail == (
        f"pod {pod} was ended by signal 9 (SIGKILL), exit code 137, and not for lack of memory; see who sent it on node {NODE}; "
        "last lines of its log:\nready"
    )


def test_evicted_through_the_api(workplace: Workplace, record: Record):
    handle, pod = started(workplace, LINGERS.format(2), held=True)

    evict(workplace, pod)

    ending = workplace.see(handle)
    assert (ending.life, ending.detail) == (Life.ALIVE, f"pod {pod} is ending on node {NODE}")
    seen = end_of(workplace, handle, record, "evicted")
    assert seen.reason is Reason.EVICTED
    assert f"pod {pod}: evicted through the Eviction API, as kubectl drain and autoscalers do" in seen.detail


@pytest.fixture
def tainted(workplace: Workplace) -> Iterator[Callable[[], None]]:
    yield lambda: workplace.cluster.must("taint", "node", NODE, TAINT) and None
    workplace.cluster.must("taint", "node", NODE, f"{TAINT}-")


def test_evicted_by_a_taint(workplace: Workplace, tainted: Callable[[], None], record: Record):
    handle, pod = started(workplace, LINGERS.format(2), held=True)

    tainted()

    seen = end_of(workplace, handle, record, "tainted")
    assert seen.reason is Reason.EVICTED
    assert f"pod {pod}: evicted: its node got a taint, NoExecute, that it does not tolerate" in seen.detail


@pytest.fixture
def priority(workplace: Workplace) -> Iterator[str]:
    name = workplace.namespace
    workplace.cluster.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000})
    yield name
    workplace.cluster.must("delete", "priorityclass", name)


def test_preempted(workplace: Workplace, priority: str, record: Record):
    workplace.config["gpu"] = {"count": 2}
    handle, pod = started(workplace, LINGERS.format(2), held=True)
    workplace.config["priorityClassName"] = priority

    stronger = workplace.start(SLEEPS)

    seen = end_of(workplace, handle, record, "preempted")
    assert seen.reason is Reason.PREEMPTED
    assert f"pod {pod}: preempted: a pod of higher priority got its place" in seen.detail
    workplace.until(stronger, alive)


@pytest.fixture
def peer(workplace: Workplace) -> Iterator[None]:
    workplace.cluster.add_peer("peer")
    yield
    workplace.cluster.remove_peer("peer")


def test_a_lost_node_leaves_it_unknown_until_its_node_is_gone(workplace: Workplace, peer: None, record: Record):
    cluster = workplace.cluster
    # Long enough that somebody sees the silence before the eviction, also on a busy machine.
    unreachable = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 15}
    handle, pod = started(workplace, held=True, change=lambda job: pod_of(job).update(tolerations=[unreachable]))

    cluster.kill("kubelet")

    silent = workplace.until(handle, lambda seen: seen.life is not Life.ALIVE, seconds=90)
    record("node_silent")
    assert (silent.life, silent.detail) == (Life.UNKNOWN, f"node {NODE}, which has pod {pod}, does not answer the cluster")
    # As the node controller does by itself, unless it takes the peer for lost as well, which happened on a busy machine.
    cluster.must("taint", "node", NODE, "node.kubernetes.io/unreachable:NoExecute", "--overwrite")
    cluster.until(lambda: "deletionTimestamp" in workplace.get("pod", pod)["metadata"], what="the eviction")
    for _ in range(5):
        assert workplace.see(handle).life is not Life.DEAD
        time.sleep(0.2)
    cluster.must("delete", "node", NODE)
    lost = end_of(workplace, handle, record, "node_lost")
    assert lost.reason is Reason.NODE_LOST, lost.detail


def test_a_job_that_is_deleted_by_hand_is_missing(workplace: Workplace, record: Record):
    handle, _ = started(workplace, LINGERS.format(2))

    workplace.kubectl("delete", "job", handle.name, "--wait=false")

    assert workplace.see(handle).life is Life.ALIVE
    seen = workplace.until(handle, dead)
    assert seen.reason is Reason.DELETED
    workplace.cluster.until(lambda: not workplace.pods(), what="the pod to be gone")
    gone = workplace.see(handle)
    record("job_deleted")
    assert (gone.life, gone.reason, gone.missing) == (Life.DEAD, Reason.DELETED, True)
    assert (
        gone.detail
        == f"Job {handle.name} is not there any more, without a report: deleted from outside, or removed long after its end; try again"
    )


def test_a_pod_that_is_deleted_by_hand(workplace: Workplace, record: Record):
    handle, pod = started(workplace, LINGERS.format(2), held=True)

    workplace.kubectl("delete", "pod", pod, "--wait=false")

    seen = end_of(workplace, handle, record, "pod_deleted")
    assert (seen.reason, seen.exit_code) == (Reason.INTERRUPTED, 143), seen.detail
    assert re.match(r"pod .* was deleted from outside; its run gave up in good order, exit code 143; see who deleted it", seen.detail)


def test_a_suspended_run_is_queued_again_and_goes_on(workplace: Workplace, record: Record):
    # Held: where volumes are slow to unmount, its failed pod is to be seen for so long.
    handle, pod = started(workplace, LINGERS.format(1), held=True)

    workplace.kubectl("patch", "job", handle.name, "--type=merge", "-p", '{"spec": {"suspend": true}}')

    lives: list[Life] = []

    def queued(seen: Observation) -> bool:
        lives.append(seen.life)
        return seen.detail == f"queued: Job {handle.name} is suspended"

    workplace.until(handle, lambda seen: queued(seen) or "was suspended and its pod" in seen.detail)
    # The Job controller looks again a second after a pod has changed.
    for _ in range(15):
        queued(workplace.see(handle))
        time.sleep(0.2)
    let_go(workplace, pod)
    workplace.until(handle, queued)
    record("suspended")
    # Its pod ended with the code of a death, and is not one.
    assert Life.DEAD not in lives
    workplace.kubectl("patch", "job", handle.name, "--type=merge", "-p", '{"spec": {"suspend": false}}')
    assert pod not in workplace.until(handle, alive).detail


def test_quota_holds_a_run_back_and_is_told(workplace: Workplace, record: Record):
    metadata = {"name": "none", "namespace": workplace.namespace}
    workplace.cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}})
    workplace.cluster.until(lambda: workplace.get("resourcequota", "none").get("status", {}).get("hard"), what="the quota to count")
    workplace.config["deadlines"] = {"pendingSeconds": 4}
    handle = workplace.start(SLEEPS)

    waiting = workplace.until(handle, lambda seen: "exceeded quota" in seen.detail)
    assert (waiting.life, waiting.reason) == (Life.WAITING, None)
    seen = workplace.until(handle, lambda seen: seen.reason is not None)
    record("quota")

    assert (seen.life, seen.reason) == (Life.WAITING, Reason.REFUSED)
    assert re.fullmatch(
        r"FailedCreate: Error creating: pods .* exceeded quota: none, .*; for \d s, and deadlines\.pendingSeconds is 4; wait for other .*",
        seen.detail,
    )
