"""Ending a run on a real cluster: in whatever state it is, it is gone afterwards, and nothing of it starts later."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from gregory.launch.errors import NotEnded, Unreachable
from gregory.launch.kubernetes import kube, orphans
from gregory.launch.runner import Life, Rendered
from gregory.runs.reasons import Reason
from gregory.runs.spec import RunHandle, RunOutcome
from tools.cluster.cluster import GPU
from tools.cluster.namespace import LINGERS, SLEEPS, Workplace, a_run, pod_of, with_code

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
def test_cancelled_it_is_gone(workplace: Workplace, change: Callable[[dict[str, Any]], None] | None, code: str, until: str):
    handle = workplace.start(code, change=change)
    workplace.until(handle, lambda seen: until in seen.detail)
    began = time.monotonic()

    workplace.runner().cancel(handle, grace_seconds=2)

    assert time.monotonic() - began < 2 + 10
    assert (workplace.jobs(), workplace.pods()) == ([], [])
    assert workplace.see(handle).missing


def test_cancelled_before_it_has_a_pod(workplace: Workplace):
    runner = workplace.runner()
    spec = a_run()
    handle = runner.submit(Rendered(spec=spec, request=with_code(runner.render(spec).request, SLEEPS)))

    runner.cancel(handle, grace_seconds=2)

    time.sleep(1)
    assert (workplace.jobs(), workplace.pods()) == ([], [])


def test_while_it_is_ending(workplace: Workplace):
    handle = workplace.start(LINGERS.format(3))
    workplace.until(handle, lambda seen: seen.life is Life.ALIVE)
    (pod,) = workplace.pods()
    workplace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")

    workplace.runner().cancel(handle, grace_seconds=5)

    assert (workplace.jobs(), workplace.pods()) == ([], [])


def test_what_has_ended_keeps_its_log(workplace: Workplace):
    spec = a_run()
    handle = workplace.start("print('done')", spec=spec)
    workplace.cluster.until(lambda: workplace.jobs()[0]["status"].get("succeeded"), what="the Job to have completed")

    workplace.runner().cancel(handle, grace_seconds=1)

    assert workplace.runner().tail(spec) == "done"


def test_what_a_run_says_of_its_end_is_not_lost_with_its_pod(workplace: Workplace):
    spec = a_run()
    told = RunOutcome(run_id=spec.run_id, attempt=spec.attempt, algorithms=(), interrupted="no database")
    handle = workplace.start(REPORTS.format(told.model_dump_json()), spec=spec)
    workplace.until(handle, lambda seen: seen.life is Life.ALIVE)
    runner = workplace.runner()
    next(runner.logs(spec, handle, waiting=lambda: True))

    runner.cancel(handle, grace_seconds=5)

    (seen,) = runner.observe([handle])
    assert (seen.life, seen.exit_code, RunOutcome.model_validate_json(seen.report)) == (Life.DEAD, 143, told)
    assert runner.observe([handle])[0].missing


def test_a_namesake_and_another_cluster_are_left_alone(workplace: Workplace):
    handle = workplace.start(SLEEPS)

    workplace.runner().cancel(handle.model_copy(update={"uid": "another"}), grace_seconds=1)
    with pytest.raises(NotEnded, match=rf"^Job {handle.name} belongs to kubernetes@elsewhere/x, which is not the cluster that is asked"):
        workplace.runner().cancel(RunHandle(host="kubernetes@elsewhere/x", name=handle.name, uid="another"), grace_seconds=1)

    assert [job["metadata"]["uid"] for job in workplace.jobs()] == [handle.uid]


def test_what_never_starts_is_ended_for_its_reason_and_no_zombie_comes(workplace: Workplace, base_image: str):
    """C5: the tag is pushed after the run was given up."""
    workplace.config["deadlines"] = {"imagePullSeconds": 2}
    late = "gregory.test/late:1"
    handle = workplace.start(SLEEPS, change=lambda job: pod_of(job)["containers"][0].update(image=late))
    seen = workplace.until(handle, lambda seen: seen.reason is not None)
    assert (seen.life, seen.reason) == (Life.WAITING, Reason.IMAGE_PULL)

    workplace.runner().cancel(handle, grace_seconds=1)

    workplace.cluster._must_ctr("images", "tag", f"{base_image}", late)
    time.sleep(3)
    assert (workplace.jobs(), workplace.pods()) == ([], [])


def test_a_node_that_does_not_say_that_a_pod_has_ended(workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
    handle = workplace.start(SLEEPS)
    workplace.until(handle, lambda seen: seen.life is Life.ALIVE)
    monkeypatch.setattr("gregory.launch.kubernetes.terminate_job.CONFIRMATION_SECONDS", 2.0)
    workplace.cluster.pause("kubelet")

    with pytest.raises(NotEnded, match=rf"^Job {handle.name} was deleted, and its pod is still there: its node does not say"):
        workplace.runner().cancel(handle, grace_seconds=1)

    workplace.cluster.resume("kubelet")
    workplace.runner().cancel(handle, grace_seconds=1)
    assert workplace.pods() == []


class TestSweep:
    def test_a_job_without_an_unfinished_run_is_deleted_at_the_second_look(self, workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
        handle, other = workplace.start(SLEEPS), a_run()
        workplace.start(SLEEPS, spec=other)
        assert workplace.runner().sweep({other.run_id}, keep_seconds=0) == []
        assert workplace.runner().sweep({other.run_id}, keep_seconds=0) == []
        assert len(workplace.jobs()) == 2

        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)

        assert workplace.runner().sweep({other.run_id}, keep_seconds=0) == [f"Job {handle.name}, whose run has ended"]
        workplace.cluster.until(lambda: len(workplace.pods()) == 1, what="its pod to be gone")
        assert [job["metadata"]["labels"]["gregory-train/run-id"] for job in workplace.jobs()] == [other.run_id]

    def test_another_installation_s_jobs_are_not_ours(self, workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)
        workplace.start(SLEEPS)
        workplace.config["database"]["name"] = "another"

        assert [workplace.runner().sweep(set(), keep_seconds=0) for _ in range(3)] == [[], [], []]
        assert len(workplace.jobs()) == 1

    def test_what_has_ended_is_the_cluster_s(self, workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(orphans, "GRACE", orphans.GRACE * 0)
        workplace.start("print('done')")
        workplace.cluster.until(lambda: workplace.jobs()[0]["status"].get("succeeded"), what="the Job to have completed")

        assert [workplace.runner().sweep(set(), keep_seconds=1) for _ in range(3)] == [[], [], []]

    def test_unless_nothing_is_to_be_kept(self, workplace: Workplace):
        handle, other = workplace.start("print('done')"), a_run()
        kept = workplace.start("print('done')", spec=other)
        workplace.cluster.until(lambda: all(job["status"].get("succeeded") for job in workplace.jobs()), what="the Jobs to have completed")

        assert workplace.runner().sweep({other.run_id}, keep_seconds=0) == [f"Job {handle.name}, whose run has ended"]
        workplace.cluster.until(lambda: len(workplace.pods()) == 1, what="its pod to be gone")
        assert [job["metadata"]["name"] for job in workplace.jobs()] == [kept.name]


def test_without_an_answer_nothing_is_known_and_nothing_is_done(workplace: Workplace, monkeypatch: pytest.MonkeyPatch):
    """C7: the API server stands still while runs work."""
    monkeypatch.setattr(kube, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(kube, "READ_SECONDS", 1.0)
    monkeypatch.setattr(kube, "PATIENCE_SECONDS", 3.0)
    runner = workplace.runner()
    handle = workplace.start(SLEEPS)
    workplace.until(handle, lambda seen: seen.life is Life.ALIVE)
    assert runner.observe([handle])[0].life is Life.ALIVE

    workplace.cluster.pause("kube-apiserver")

    began = time.monotonic()
    run, process = runner.observe([handle, runner.here()])
    assert (run.life, process.life) == (Life.UNKNOWN, Life.ALIVE)
    assert run.detail.startswith("the Kubernetes API does not answer: ")
    assert time.monotonic() - began < 10
    assert runner.sweep(set(), keep_seconds=0) == []
    with pytest.raises(Unreachable):
        runner.cancel(handle, grace_seconds=1)
    workplace.cluster.resume("kube-apiserver")
    assert workplace.until(handle, lambda seen: seen.life is Life.ALIVE)
