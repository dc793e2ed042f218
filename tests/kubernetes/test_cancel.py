"""Ending a run on a real cluster: in whatever state it is, it is gone afterwards, and nothing of it starts later."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from gregory.launch.errors import TerminationTimeout, Unreachable
from gregory.launch.kubernetes import kube, orphans
from gregory.launch.runner import Rendered, Status
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunOutcome
from tools.cluster.cluster import GPU
from tools.cluster.namespace import LINGERS, SLEEPS, ClusterNamespace, a_run, pod_of, with_code

pytestmark = pytest.mark.slow

REPORTS = (
    "import signal, sys, time; end = lambda *_: (open('/dev/termination-log', 'w').write({!r}), sys.exit(143));"
    "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
)


def suspended(job: dict[str, Any]) -> None:
    job["spec"]["suspend"] = True


def too_many_gpus(job: dict[str, Any]) -> None:
    pod_of(job)["containers"][0]["resources"]["limits"][GPU] = "3"


def no_image(job: dict[str, Any]) -> None:
    pod_of(job)["containers"][0]["image"] = "gregory.test/none:1"


@pytest.mark.parametrize(
    ("change", "code", "until"),
    [
        (suspended, SLEEPS, "is suspended"),
        (too_many_gpus, SLEEPS, "unschedulable: "),
        (no_image, SLEEPS, "gregory.test/none:1"),
        (None, SLEEPS, "runs on node"),
        (None, LINGERS.format(60), "runs on node"),
    ],
    ids=["suspended", "pending", "pulling", "running", "running and deaf"],
)
def test_cancelled_it_is_gone(cluster_namespace: ClusterNamespace, change: Callable[[dict[str, Any]], None] | None, code: str, until: str):
    handle = cluster_namespace.start(code, change=change)
    cluster_namespace.until(handle, lambda seen: until in seen.text)
    began = time.monotonic()

    cluster_namespace.runner().cancel(handle, grace_seconds=2)

    assert time.monotonic() - began < 2 + 10
    assert (cluster_namespace.jobs(), cluster_namespace.pods()) == ([], [])
    assert cluster_namespace.see(handle).missing


def test_cancelled_before_it_has_a_pod(cluster_namespace: ClusterNamespace):
    runner = cluster_namespace.runner()
    spec = a_run()
    handle = runner.submit(Rendered(spec=spec, request=with_code(runner.render(spec).request, SLEEPS)))

    runner.cancel(handle, grace_seconds=2)

    time.sleep(1)
    assert (cluster_namespace.jobs(), cluster_namespace.pods()) == ([], [])


def test_while_it_is_ending(cluster_namespace: ClusterNamespace):
    handle = cluster_namespace.start(LINGERS.format(3))
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    (pod,) = cluster_namespace.pods()
    cluster_namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")

    cluster_namespace.runner().cancel(handle, grace_seconds=5)

    assert (cluster_namespace.jobs(), cluster_namespace.pods()) == ([], [])


def test_what_has_ended_keeps_its_log(cluster_namespace: ClusterNamespace):
    spec = a_run()
    handle = cluster_namespace.start("print('done')", spec=spec)
    cluster_namespace.cluster.until(lambda: cluster_namespace.jobs()[0]["status"].get("succeeded"), what="the Job to have completed")

    cluster_namespace.runner().cancel(handle, grace_seconds=1)

    assert cluster_namespace.runner().log_tail(spec) == "done"


def test_what_a_run_says_of_its_end_is_not_lost_with_its_pod(cluster_namespace: ClusterNamespace):
    spec = a_run()
    told = RunOutcome(run_id=spec.run_id, attempt=spec.attempt, algorithms=(), interrupted="no database")
    handle = cluster_namespace.start(REPORTS.format(told.model_dump_json()), spec=spec)
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    runner = cluster_namespace.runner()
    next(runner.logs(spec, handle, waiting=lambda: True))

    runner.cancel(handle, grace_seconds=5)

    (seen,) = runner.observe([handle])
    assert (seen.status, seen.diagnosis.exit_code, RunOutcome.model_validate_json(seen.report)) == (Status.TERMINATED, 143, told)
    assert runner.observe([handle])[0].missing


def test_a_namesake_and_another_cluster_are_left_alone(cluster_namespace: ClusterNamespace):
    handle = cluster_namespace.start(SLEEPS)

    cluster_namespace.runner().cancel(handle.model_copy(update={"uid": "another"}), grace_seconds=1)
    with pytest.raises(
        TerminationTimeout, match=rf"^Job {handle.name} belongs to kubernetes@elsewhere/x, which is another cluster or namespace$"
    ):
        cluster_namespace.runner().cancel(RunHandle(host="kubernetes@elsewhere/x", name=handle.name, uid="another"), grace_seconds=1)

    assert [job["metadata"]["uid"] for job in cluster_namespace.jobs()] == [handle.uid]


def test_what_never_starts_is_ended_for_its_reason_and_no_zombie_comes(cluster_namespace: ClusterNamespace, base_image: str):
    """C5: the tag is pushed after the run was given up."""
    cluster_namespace.config["deadlines"] = {"imagePullSeconds": 2}
    late = "gregory.test/late:1"
    handle = cluster_namespace.start(SLEEPS, change=lambda job: pod_of(job)["containers"][0].update(image=late))
    seen = cluster_namespace.until(handle, lambda seen: seen.reason is not None)
    assert (seen.status, seen.reason) == (Status.PENDING, Reason.IMAGE_PULL)

    cluster_namespace.runner().cancel(handle, grace_seconds=1)

    cluster_namespace.cluster._must_ctr("images", "tag", f"{base_image}", late)
    time.sleep(3)
    assert (cluster_namespace.jobs(), cluster_namespace.pods()) == ([], [])


def test_a_node_that_does_not_say_that_a_pod_has_ended(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    handle = cluster_namespace.start(SLEEPS)
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    monkeypatch.setattr("gregory.launch.kubernetes.terminate_job.CONFIRMATION_SECONDS", 2.0)
    cluster_namespace.cluster.pause("kubelet")

    with pytest.raises(TerminationTimeout, match=rf"^Job {handle.name} was deleted, but its node does not confirm that its pod has ended"):
        cluster_namespace.runner().cancel(handle, grace_seconds=1)

    cluster_namespace.cluster.resume("kubelet")
    cluster_namespace.runner().cancel(handle, grace_seconds=1)
    assert cluster_namespace.pods() == []


class TestSweep:
    def test_a_job_without_an_unfinished_run_is_deleted_at_the_second_look(
        self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch
    ):
        handle, other = cluster_namespace.start(SLEEPS), a_run()
        cluster_namespace.start(SLEEPS, spec=other)
        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == []
        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == []
        assert len(cluster_namespace.jobs()) == 2

        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)

        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == [f"Job {handle.name} of an ended run"]
        cluster_namespace.cluster.until(lambda: len(cluster_namespace.pods()) == 1, what="its pod to be gone")
        assert [job["metadata"]["labels"]["gregory-train/run-id"] for job in cluster_namespace.jobs()] == [other.run_id]

    def test_another_installation_s_jobs_are_not_ours(self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)
        cluster_namespace.start(SLEEPS)
        cluster_namespace.config["database"]["name"] = "another"

        assert [cluster_namespace.runner().collect_garbage(set(), keep_seconds=0) for _ in range(3)] == [[], [], []]
        assert len(cluster_namespace.jobs()) == 1

    def test_what_has_ended_is_the_cluster_s(self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)
        cluster_namespace.start("print('done')")
        cluster_namespace.cluster.until(lambda: cluster_namespace.jobs()[0]["status"].get("succeeded"), what="the Job to have completed")

        assert [cluster_namespace.runner().collect_garbage(set(), keep_seconds=1) for _ in range(3)] == [[], [], []]

    def test_unless_nothing_is_to_be_kept(self, cluster_namespace: ClusterNamespace):
        handle, other = cluster_namespace.start("print('done')"), a_run()
        kept = cluster_namespace.start("print('done')", spec=other)
        cluster_namespace.cluster.until(
            lambda: all(job["status"].get("succeeded") for job in cluster_namespace.jobs()), what="the Jobs to have completed"
        )

        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == [f"Job {handle.name} of an ended run"]
        cluster_namespace.cluster.until(lambda: len(cluster_namespace.pods()) == 1, what="its pod to be gone")
        assert [job["metadata"]["name"] for job in cluster_namespace.jobs()] == [kept.name]


def test_without_an_answer_nothing_is_known_and_nothing_is_done(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    """C7: the API server stands still while runs work."""
    monkeypatch.setattr(kube, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(kube, "READ_SECONDS", 1.0)
    monkeypatch.setattr(kube, "TOTAL_SECONDS", 3.0)
    runner = cluster_namespace.runner()
    handle = cluster_namespace.start(SLEEPS)
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    assert runner.observe([handle])[0].status is Status.ALIVE

    cluster_namespace.cluster.pause("kube-apiserver")

    began = time.monotonic()
    run, process = runner.observe([handle, runner.owner_handle()])
    assert (run.status, process.status) == (Status.UNKNOWN, Status.ALIVE)
    assert run.detail.startswith("the Kubernetes API does not answer: ")
    assert time.monotonic() - began < 10
    assert runner.collect_garbage(set(), keep_seconds=0) == []
    with pytest.raises(Unreachable):
        runner.cancel(handle, grace_seconds=1)
    cluster_namespace.cluster.resume("kube-apiserver")
    assert cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
