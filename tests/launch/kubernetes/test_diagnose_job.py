"""What is made of a Job, its pods and events: of those that a real cluster showed, and of those that no test can bring about."""

import re
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest
import yaml

from gregory.launch.kubernetes.cluster_sections import Deadlines
from gregory.launch.kubernetes.diagnose.job import observe_job, wants_events
from gregory.launch.kubernetes.diagnose.pod_status import Events
from gregory.launch.runner import Observation, Status
from gregory.runs.reasons import Reason
from tests.kubernetes.causes import CAUSES
from tests.kubernetes.recording import RECORDED

Recording = dict[str, Any]
Change = Callable[[Recording], object]
NODE = "node-1"
POD = r"pod gregory-train-\w{12}-a1-\w{5}"
JOB = r"Job gregory-train-\w{12}-a1"
Expected = tuple[Status, Reason | None, int | None, str]

RESUMABLE: dict[str, Expected] = {
    "killed": (
        Status.TERMINATED,
        Reason.KILLED,
        137,
        rf"{POD} was ended by signal 9 \(SIGKILL\), exit code 137, and not for lack of memory; .*",
    ),
    "evicted": (
        Status.TERMINATED,
        Reason.EVICTED,
        143,
        rf"{POD}: evicted through the Eviction API, as kubectl drain and autoscalers do.*; try again.*",
    ),
    "evicted_pod_gone": (
        Status.TERMINATED,
        Reason.EVICTED,
        None,
        rf"{POD}: evicted through the Eviction API, .*; see who empties that node",
    ),
    "tainted": (
        Status.TERMINATED,
        Reason.EVICTED,
        143,
        rf"{POD}: evicted: its node got a taint, NoExecute, .*; try again, or tolerate the taint.*",
    ),
    "tainted_pod_gone": (Status.TERMINATED, Reason.EVICTED, None, rf"{POD}: evicted: its node got a taint, .* \(Marking for deletion .*"),
    "preempted": (Status.TERMINATED, Reason.PREEMPTED, 143, rf"{POD}: preempted: a pod of higher priority got its place .*"),
    "preempted_pod_gone": (
        Status.TERMINATED,
        Reason.PREEMPTED,
        None,
        rf"{POD}: preempted: .* \(Preempted by pod \S+ on node {NODE}\); give runs .*",
    ),
    "node_silent": (Status.UNKNOWN, None, None, rf"node {NODE}, which has {POD}, does not answer the cluster"),
    "node_lost": (
        Status.TERMINATED,
        Reason.NODE_LOST,
        None,
        rf"{POD}: its node is gone from the cluster \(PodGC: node no longer exists\); .*",
    ),
    "node_lost_pod_gone": (
        Status.TERMINATED,
        Reason.NODE_LOST,
        None,
        rf"{POD}: its node stopped answering and its pods were taken away .*",
    ),
    "pod_deleted": (
        Status.TERMINATED,
        Reason.INTERRUPTED,
        143,
        rf"{POD} was deleted from outside; its run gave up in good order, exit code 143; .*",
    ),
    "pod_deleted_pod_gone": (
        Status.TERMINATED,
        Reason.INTERRUPTED,
        None,
        rf"pod of {JOB} was deleted from outside, and how its run ended was not seen; see who deleted it, if it is not to go on",
    ),
    "job_deleted": (Status.TERMINATED, Reason.DELETED, None, rf"{JOB} is not there any more, without a report: .*; try again"),
    "suspended": (Status.PENDING, None, None, rf"queued: {JOB} is suspended"),
    "quota": (
        Status.PENDING,
        Reason.REFUSED,
        None,
        r"FailedCreate: .* exceeded quota: none, .*; wait for other pods of the namespace to end.*",
    ),
}
EXPECTED = RESUMABLE | {name: (cause.status, cause.reason, cause.exit_code, cause.detail) for name, cause in CAUSES.items()}


def recorded(name: str) -> Recording:
    recording: Recording = yaml.safe_load((RECORDED / f"{name}.yaml").read_text(encoding="utf-8"))
    return recording


def observed(recording: Recording) -> Observation:
    events = {(kind, name): said for about, said in recording["events"].items() for kind, _, name in [about.partition("/")]}
    return observe_job(
        recording["job"],
        recording["pods"],
        Events(by_object=events),
        name=recording["name"],
        now=datetime.fromisoformat(recording["now"]),
        deadlines=Deadlines.model_validate(recording["deadlines"]),
    )


def changed(name: str, change: Change) -> Observation:
    recording = deepcopy(recorded(name))
    change(recording)
    return observed(recording)


def pod_of(recording: Recording) -> dict[str, Any]:
    pod: dict[str, Any] = recording["pods"][0]
    return pod


def without_pod(recording: Recording) -> None:
    recording["pods"] = []


def concluded(reason: str, message: str, *, kind: str = "Failed") -> Change:
    """The Job says this of its end, and has no pod any more."""

    def apply(recording: Recording) -> None:
        without_pod(recording)
        recording["job"]["status"] = {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": message}]}

    return apply


def status(**values: Any) -> Change:
    """The pod's node says this of it and nothing of its container."""
    return lambda recording: pod_of(recording).update(status={"phase": "Failed", **values})


def told(**events: str) -> Change:
    return lambda recording: recording["events"].update({f"Pod/{pod_of(recording)['metadata']['name']}": events})


def all_of(*changes: Change) -> Change:
    return lambda recording: [change(recording) for change in changes]


def later(seconds: int) -> Change:
    return lambda recording: recording.update(now=(datetime.fromisoformat(recording["now"]) + timedelta(seconds=seconds)).isoformat())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_what_a_real_cluster_showed(name: str):
    status, reason, exit_code, detail = EXPECTED[name]

    seen = observed(recorded(name))

    assert (seen.status, seen.reason, getattr(seen.diagnosis, "exit_code", None)) == (status, reason, exit_code), seen.text
    assert re.fullmatch(detail, seen.text, re.DOTALL), seen.text


def test_every_recording_is_looked_at():
    assert {path.stem for path in RECORDED.glob("*.yaml")} == set(EXPECTED)


POLICY = "Container run for pod ns/gregory-train-0123456789ab-a1-abcde failed with exit code {} matching FailJob rule at index {}"
NOT_PREPARED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "change", "status", "reason", "detail"),
    [
        (
            "no_report",
            concluded("CompletionsReached", "", kind="Complete"),
            Status.TERMINATED,
            Reason.NO_REPORT,
            rf"{JOB} completed and left no .*",
        ),
        (
            "no_report",
            concluded("PodFailurePolicy", POLICY.format(1, 1)),
            Status.TERMINATED,
            None,
            rf"pod of {JOB} exited with code 1, left no .*",
        ),
        (
            "no_report",
            concluded("PodFailurePolicy", POLICY.format(139, 5)),
            Status.TERMINATED,
            Reason.KILLED,
            rf"pod of {JOB} was ended by signal 11 \(SIGSEGV\) and is gone; see who ended or deleted it",
        ),
        (
            "no_report",
            concluded("BackoffLimitExceeded", ""),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"pod of {JOB} was deleted from outside, and .*",
        ),
        ("no_report", concluded("Unheard", "of"), Status.TERMINATED, None, rf"{JOB} failed: Unheard: of"),
        (
            "no_report",
            status(reason="Evicted", message="The node was low on resource: memory."),
            Status.TERMINATED,
            Reason.EVICTED,
            r".* its node ran short \(The node was low on resource: memory\.\); give .*",
        ),
        (
            "no_report",
            status(reason="Terminated", message="Pod was terminated in response to imminent node shutdown."),
            Status.TERMINATED,
            Reason.NODE_LOST,
            r".*: its node was shut down \(.*\); try again",
        ),
        (
            "no_report",
            status(reason="Preempting", message="Preempted in order to admit critical pod"),
            Status.TERMINATED,
            Reason.PREEMPTED,
            r".*preempted.*",
        ),
        ("no_report", status(), Status.TERMINATED, Reason.EVICTED, rf"{POD} was turned down by its node {NODE}: it does not say why; .*"),
        (
            "tainted",
            told(NodeNotReady="Node is not ready"),
            Status.TERMINATED,
            Reason.NODE_LOST,
            r".*: its node stopped answering and its pods were .*",
        ),
        (
            "evicted",
            lambda r: r["job"]["status"].pop("conditions"),
            Status.PENDING,
            None,
            rf"{POD} was deleted, and {JOB} has not said yet .*",
        ),
        (
            "evicted",
            lambda r: (r["job"]["status"].pop("conditions"), r["job"]["spec"].update(suspend=True)),
            Status.PENDING,
            None,
            rf"queued again: {JOB} was suspended and its {POD} taken away",
        ),
        ("evicted", lambda r: r.update(job=None), Status.TERMINATED, Reason.EVICTED, rf"{POD}: evicted.*"),
        (
            "pod_deleted",
            lambda r: r.update(job=None),
            Status.TERMINATED,
            Reason.DELETED,
            rf"the Job of {POD} was deleted from outside, and it ended with exit code 143; see who deleted it; try again; .*",
        ),
        (
            "pod_deleted",
            lambda r: pod_of(r)["status"]["containerStatuses"][0]["state"]["terminated"].update(exitCode=137, reason="Error"),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"{POD} was deleted from outside; its run did not give up in the time it had, exit code 137; see who deleted it, .*",
        ),
        (
            "pod_deleted",
            status(),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"{POD} was deleted from outside before its run began; see who deleted it, if it is not to go on",
        ),
        (
            "out_of_memory",
            lambda r: pod_of(r)["spec"]["containers"][0].pop("resources"),
            Status.TERMINATED,
            Reason.OUT_OF_MEMORY,
            r".*its node has no more.*",
        ),
        (
            "reported",
            lambda r: pod_of(r)["metadata"]["labels"].update({"gregory-train/attempt": "2"}),
            Status.TERMINATED,
            Reason.NO_REPORT,
            r".*",
        ),
        (
            "node_silent",
            lambda r: pod_of(r)["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            Status.UNKNOWN,
            None,
            rf"{POD} was to end, and node {NODE} does not say so",
        ),
        ("node_silent", later(45_000 + 25), Status.UNKNOWN, None, rf"node {NODE}, which has {POD}, does not answer the cluster"),
        (
            "node_silent",
            later(45_000 + 30 + 30),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"node {NODE}, which has {POD}, does not answer the cluster, and its own deadline passed at .* UTC; see what became of .*",
        ),
        (
            "node_silent",
            all_of(later(10**6), lambda r: pod_of(r)["metadata"].update(deletionTimestamp="2026-11-24T18:02:00Z")),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"{POD} was to end, and node {NODE} does not say so, and its own deadline passed at .* UTC; see what became of the node",
        ),
        (
            "node_silent",
            all_of(later(10**6), lambda r: pod_of(r)["spec"].pop("activeDeadlineSeconds")),
            Status.UNKNOWN,
            None,
            rf"node {NODE}, which has {POD}, does not answer the cluster",
        ),
        ("node_silent", lambda r: pod_of(r)["status"]["conditions"].clear(), Status.ALIVE, None, rf"{POD} runs on node {NODE}"),
        (
            "mount",
            lambda r: (r["events"].clear(), pod_of(r)["status"].update(conditions=[NOT_PREPARED])),
            Status.PENDING,
            Reason.NOT_STARTED,
            r"the node prepares volumes and network; for .*",
        ),
        (
            "mount",
            lambda r: pod_of(r)["status"]["conditions"].append({"type": "PodReadyToStartContainers", "status": "True"}),
            Status.PENDING,
            Reason.IMAGE_PULL,
            r"pulling .*; for .*",
        ),
        (
            "unschedulable",
            lambda r: pod_of(r)["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            Status.PENDING,
            None,
            rf"{POD} is being deleted before it began",
        ),
        (
            "reported",
            lambda r: pod_of(r)["status"]["containerStatuses"][0]["state"]["terminated"].update(exitCode=137, reason="Error"),
            Status.TERMINATED,
            Reason.KILLED,
            rf"{POD} was ended by signal 9 \(SIGKILL\), exit code 137, and not for lack of memory; see who sent it on node {NODE}",
        ),
        ("mount", told(FailedCreatePodSandBox="no network"), Status.PENDING, Reason.REFUSED, r"FailedCreatePodSandBox: no network; for .*"),
        (
            "mount",
            lambda r: pod_of(r)["metadata"].update(deletionTimestamp="2126-01-01T00:00:00Z"),
            Status.PENDING,
            None,
            rf"{POD} is being deleted before it began",
        ),
        (
            "unschedulable",
            lambda r: pod_of(r)["status"].pop("conditions"),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            r"unschedulable: no scheduler has looked at it yet; .*",
        ),
        (
            "quota",
            lambda r: r["events"].clear(),
            Status.PENDING,
            Reason.NOT_STARTED,
            rf"{JOB} has no pod yet; for .*; see whether the cluster's controller manager works",
        ),
        (
            "quota",
            lambda r: r["job"]["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            Status.PENDING,
            None,
            rf"{JOB} is being deleted",
        ),
        (
            "suspended",
            all_of(later(10**6), lambda r: r["deadlines"].update(pendingSeconds=1)),
            Status.PENDING,
            None,
            rf"queued: {JOB} is suspended",
        ),
        (
            "suspended",
            all_of(
                later(100),
                lambda r: (
                    r["deadlines"].update(queueSeconds=60),
                    r["job"]["metadata"]["labels"].update({"kueue.x-k8s.io/queue-name": "gpus"}),
                ),
            ),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            rf"queued: {JOB} is suspended and waits for Kueue's queue gpus; for \d+ s, and deadlines\.queueSeconds is 60; see what .*",
        ),
    ],
)
def test_what_no_test_can_bring_about(name: str, change: Change, status: Status, reason: Reason | None, detail: str):
    seen = changed(name, change)

    assert (seen.status, seen.reason) == (status, reason), seen.text
    assert re.fullmatch(detail, seen.text, re.DOTALL), seen.text


def test_before_its_time_is_over_a_waiting_run_has_words_and_no_reason():
    seen = changed("image_pull", lambda recording: recording["deadlines"].update(imagePullSeconds=3600))

    assert (seen.status, seen.reason) == (Status.PENDING, None)
    assert re.fullmatch(r'(ErrImagePull|ImagePullBackOff): .*"gregory\.test/none:1".*', seen.text)
    assert "deadlines" not in seen.text


def test_a_run_is_over_even_where_a_container_beside_it_lives_on():
    def beside(recording: Recording) -> None:
        pod_of(recording)["status"]["phase"] = "Running"
        pod_of(recording)["status"]["containerStatuses"].append({"name": "exporter", "state": {"running": {}}})

    assert changed("error", beside).status is Status.TERMINATED


def test_of_two_pods_the_newer_counts():
    def again(recording: Recording) -> None:
        newer = deepcopy(recorded("node_silent"))["pods"][0]
        newer["metadata"]["creationTimestamp"] = "2126-01-01T00:00:00Z"
        newer["status"]["conditions"] = []
        recording["pods"].append(newer)

    assert changed("evicted", again).status is Status.ALIVE


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("node_silent", False), ("evicted", False), ("tainted", True), ("evicted_pod_gone", True), ("mount", True), ("quota", True),
     ("image_pull", False), ("unschedulable", False), ("suspended", False), ("job_deleted", False), ("out_of_memory", False)],
)  # fmt: skip
def test_events_are_asked_for_where_they_alone_know(name: str, wanted: bool):
    recording = recorded(name)

    assert wants_events(recording["job"], recording["pods"]) is wanted
