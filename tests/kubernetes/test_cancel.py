"""Termination of runs on a real cluster. Afterwards the run is gone in every case, and no pod of it starts later.

test_rows_ends.py covers cancelled runs that are suspended, pending, pulling or running.
"""

import json
import time

import pytest

from gregory.launch.errors import TerminationTimeout, Unreachable
from gregory.launch.kubernetes import kube, orphans
from gregory.launch.runner import Rendered, Status
from gregory.runs.spec import RunHandle, RunOutcome
from tools.cluster.namespace import LINGERS, SLEEPS, ClusterNamespace, a_run, with_code

pytestmark = pytest.mark.slow

REPORTS = (
    "import signal, sys, time; end = lambda *_: (open('/dev/termination-log', 'w').write({!r}), sys.exit(143));"
    "signal.signal(signal.SIGTERM, end); print('ready', flush=True); time.sleep(600)"
)


def test_run_that_ignores_sigterm_is_gone_after_its_grace_period(cluster_namespace: ClusterNamespace):
    handle = cluster_namespace.start(LINGERS.format(600))
    cluster_namespace.until(handle, lambda seen: "runs on node" in seen.detail)

    # A longer wait would be a TerminationTimeout.
    cluster_namespace.runner().cancel(handle, grace_seconds=2)

    assert (cluster_namespace.jobs(), cluster_namespace.pods()) == ([], [])
    assert cluster_namespace.see(handle).missing


def test_run_without_a_pod(cluster_namespace: ClusterNamespace):
    runner = cluster_namespace.runner()
    spec = a_run()
    handle = runner.submit(Rendered(spec=spec, request=with_code(runner.render(spec).request, SLEEPS)))

    runner.cancel(handle, grace_seconds=2)

    time.sleep(1)
    assert (cluster_namespace.jobs(), cluster_namespace.pods()) == ([], [])


def test_run_that_is_ending(cluster_namespace: ClusterNamespace):
    handle = cluster_namespace.start(LINGERS.format(3))
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    (pod,) = cluster_namespace.pods()
    cluster_namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")

    cluster_namespace.runner().cancel(handle, grace_seconds=5)

    assert (cluster_namespace.jobs(), cluster_namespace.pods()) == ([], [])


def test_finished_run_keeps_its_log(cluster_namespace: ClusterNamespace):
    spec = a_run()
    handle = cluster_namespace.start("print('done')", spec=spec)
    cluster_namespace.cluster.until(lambda: cluster_namespace.jobs()[0]["status"].get("succeeded"), what="the Job to have completed")

    cluster_namespace.runner().cancel(handle, grace_seconds=1)

    assert cluster_namespace.runner().log_tail(spec) == "done"


def test_outcome_report_is_kept_when_the_pod_is_deleted(cluster_namespace: ClusterNamespace):
    spec = a_run()
    told = RunOutcome(run_id=spec.run_id, attempt=spec.attempt, algorithms=(), interrupted="no database")
    handle = cluster_namespace.start(REPORTS.format(told.model_dump_json()), spec=spec)
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    runner = cluster_namespace.runner()
    next(runner.logs(spec, handle, waiting=lambda: True))

    runner.cancel(handle, grace_seconds=5)

    (seen,) = runner.observe([handle])
    assert (seen.status, seen.diagnosis.exit_code, RunOutcome.model_validate_json(seen.report)) == (Status.TERMINATED, 143, told)
    # The observed end stays the end. A reconciler that did not observe it misses the run.
    assert runner.observe([handle]) == [seen]
    assert cluster_namespace.runner().observe([handle])[0].missing


def test_job_with_another_uid_and_other_clusters_are_not_changed(cluster_namespace: ClusterNamespace):
    handle = cluster_namespace.start(SLEEPS)

    cluster_namespace.runner().cancel(handle.model_copy(update={"uid": "another"}), grace_seconds=1)
    with pytest.raises(
        TerminationTimeout, match=rf"^Job {handle.name} belongs to kubernetes@elsewhere/x, which is another cluster or namespace$"
    ):
        cluster_namespace.runner().cancel(RunHandle(host="kubernetes@elsewhere/x", name=handle.name, uid="another"), grace_seconds=1)

    assert [job["metadata"]["uid"] for job in cluster_namespace.jobs()] == [handle.uid]


def test_silent_node_is_a_termination_timeout(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    handle = cluster_namespace.start(SLEEPS)
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    cluster_namespace.cluster.pause("kubelet")

    with monkeypatch.context() as patch:
        patch.setattr("gregory.launch.kubernetes.terminate_job.CONFIRMATION_SECONDS", 2.0)
        with pytest.raises(
            TerminationTimeout, match=rf"^Job {handle.name} was deleted, but its node does not confirm that its pod has ended"
        ):
            cluster_namespace.runner().cancel(handle, grace_seconds=1)

    cluster_namespace.cluster.resume("kubelet")
    cluster_namespace.runner().cancel(handle, grace_seconds=1)
    assert cluster_namespace.pods() == []


class TestCollectGarbage:
    def test_orphaned_job_is_deleted_after_the_grace_time(self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        handle, other = cluster_namespace.start(SLEEPS), a_run()
        cluster_namespace.start(SLEEPS, spec=other)
        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == []
        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == []
        assert len(cluster_namespace.jobs()) == 2

        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)

        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == [f"Job {handle.name} of an ended run"]
        cluster_namespace.cluster.until(lambda: len(cluster_namespace.pods()) == 1, what="its pod to be gone")
        assert [job["metadata"]["labels"]["gregory-train/run-id"] for job in cluster_namespace.jobs()] == [other.run_id]

    def test_jobs_of_another_installation_stay(self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)
        cluster_namespace.start(SLEEPS)
        cluster_namespace.config["database"]["name"] = "another"

        assert [cluster_namespace.runner().collect_garbage(set(), keep_seconds=0) for _ in range(3)] == [[], [], []]
        assert len(cluster_namespace.jobs()) == 1

    def test_finished_job_stays_for_its_time_to_live(self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)
        cluster_namespace.start("print('done')")
        cluster_namespace.cluster.until(lambda: cluster_namespace.jobs()[0]["status"].get("succeeded"), what="the Job to have completed")

        assert [cluster_namespace.runner().collect_garbage(set(), keep_seconds=1) for _ in range(3)] == [[], [], []]

    def test_suspended_job_that_cannot_end_is_deleted_after_the_grace_time(
        self, cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch
    ):
        """As Kueue leaves it, if it suspends a Job whose pod has succeeded: without startTime, and about to end."""
        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)
        handle = cluster_namespace.start("", change=lambda job: job["spec"].update(suspend=True))
        met = {"type": "SuccessCriteriaMet", "status": "True", "reason": "CompletionsReached"}
        patch = json.dumps({"status": {"conditions": [met]}})
        cluster_namespace.kubectl("patch", "job", handle.name, "--subresource=status", "--type=merge", "--patch", patch)
        garbage = [cluster_namespace.runner().collect_garbage(set(), keep_seconds=1) for _ in range(2)]

        assert garbage == [[], [f"Job {handle.name} of an ended run"]]
        cluster_namespace.cluster.until(lambda: not cluster_namespace.jobs(), what="the Job to be gone")

    def test_finished_job_is_deleted_if_nothing_is_kept(self, cluster_namespace: ClusterNamespace):
        handle, other = cluster_namespace.start("print('done')"), a_run()
        kept = cluster_namespace.start("print('done')", spec=other)
        cluster_namespace.cluster.until(
            lambda: all(job["status"].get("succeeded") for job in cluster_namespace.jobs()), what="the Jobs to have completed"
        )

        assert cluster_namespace.runner().collect_garbage({other.run_id}, keep_seconds=0) == [f"Job {handle.name} of an ended run"]
        cluster_namespace.cluster.until(lambda: len(cluster_namespace.pods()) == 1, what="its pod to be gone")
        assert [job["metadata"]["name"] for job in cluster_namespace.jobs()] == [kept.name]


def test_without_the_api_server_every_run_is_unknown(cluster_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch):
    """C7: the API server is paused."""
    runner = cluster_namespace.runner()
    handle = cluster_namespace.start(SLEEPS)
    cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
    assert runner.observe([handle])[0].status is Status.ALIVE

    cluster_namespace.cluster.pause("kube-apiserver")

    with monkeypatch.context() as patch:
        patch.setattr(kube, "CONNECT_SECONDS", 1.0)
        patch.setattr(kube, "READ_SECONDS", 1.0)
        patch.setattr(kube, "TOTAL_SECONDS", 3.0)
        began = time.monotonic()
        run, process = runner.observe([handle, runner.owner_handle()])
        assert (run.status, process.status) == (Status.UNKNOWN, Status.ALIVE)
        assert run.detail.startswith("the Kubernetes API does not answer: ")
        # The paused server would keep a request without a limit for ever.
        assert time.monotonic() - began < 120
        assert runner.collect_garbage(set(), keep_seconds=0) == []
        with pytest.raises(Unreachable):
            runner.cancel(handle, grace_seconds=1)
    cluster_namespace.cluster.resume("kube-apiserver")
    assert cluster_namespace.until(handle, lambda seen: seen.status is Status.ALIVE)
