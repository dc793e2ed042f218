"""Diagnoses of recorded objects of a real cluster, and of objects that no test can produce."""

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
BY_A_SIGNAL = (
    r"was ended by a signal \(exit code 137 or 143\), perhaps because of its memory, and no longer exists; "
    r"compare its memory with resources\.limits\.memory, or find the sender of the signal"
)
Expected = tuple[Status, Reason | None, int | None, str]

RESUMABLE: dict[str, Expected] = {
    "killed": (
        Status.TERMINATED,
        Reason.KILLED,
        137,
        rf"{POD} was ended by signal 9 \(SIGKILL\), exit code 137, not because of its memory; .*",
    ),
    "evicted": (
        Status.TERMINATED,
        Reason.EVICTED,
        143,
        rf"{POD}: evicted through the Eviction API, as kubectl drain and autoscalers do.*; resume it; .*",
    ),
    "evicted_pod_gone": (
        Status.TERMINATED,
        Reason.EVICTED,
        None,
        rf"{POD}: evicted through the Eviction API, as .* do, or removed with its node; .*; find out why the node was drained",
    ),
    "tainted": (
        Status.TERMINATED,
        Reason.EVICTED,
        143,
        rf"{POD}: evicted: its node got a taint, NoExecute, .*; resume it, or tolerate the taint.*",
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
        rf"{POD}: its node was removed from the cluster \(PodGC: node no longer exists\); .*",
    ),
    "node_lost_pod_gone": (
        Status.TERMINATED,
        Reason.NODE_LOST,
        None,
        rf"{POD}: its node stopped answering, and the cluster deleted its pods .*",
    ),
    "power_lost": (
        Status.TERMINATED,
        Reason.NODE_LOST,
        255,
        rf"{POD}: its node was down or restarted, and lost its container \(Unknown, exit code 255\); check node {NODE}\n"
        r"last lines of its log:\nready",
    ),
    "power_lost_pod_gone": (
        Status.TERMINATED,
        Reason.NODE_LOST,
        255,
        rf"pod of {JOB}: its node was down or restarted, and lost its container \(exit code 255\); it no longer exists; .*",
    ),
    "killed_pod_gone": (Status.TERMINATED, Reason.KILLED, None, rf"pod of {JOB} {BY_A_SIGNAL}"),
    "out_of_memory_pod_gone": (Status.TERMINATED, Reason.KILLED, None, rf"pod of {JOB} {BY_A_SIGNAL}"),
    "pod_deleted": (
        Status.TERMINATED,
        Reason.INTERRUPTED,
        143,
        rf"{POD} was deleted; its run stopped in order, exit code 143; .*",
    ),
    "pod_deleted_pod_gone": (
        Status.TERMINATED,
        Reason.INTERRUPTED,
        None,
        rf"pod of {JOB} was deleted, and the end of its run was not observed; find the cause of the deletion; "
        "cancel the run if it must not continue",
    ),
    "job_deleted": (Status.TERMINATED, Reason.DELETED, None, rf"{JOB} no longer exists and left no report: .*; resume it"),
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
    events = {(kind, name): messages for about, messages in recording["events"].items() for kind, _, name in [about.partition("/")]}
    return observe_job(
        recording["job"],
        recording["pods"],
        Events(by_object=events, claims=recording.get("claims", {})),
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


def waits_on(message: str, claims: dict[str, str], **events: str) -> Change:
    """The scheduler's words for the pod, the claims that are not bound, and the events of the claim `unbound`."""

    def apply(recording: Recording) -> None:
        (scheduled,) = pod_of(recording)["status"]["conditions"]
        scheduled["message"] = message
        recording["claims"] = claims
        recording["events"] = {"PersistentVolumeClaim/unbound": events}

    return apply


def without_pod(recording: Recording) -> None:
    recording["pods"] = []


def ended_job(reason: str, message: str, *, kind: str = "Failed") -> Change:
    """The Job has this condition and no pod."""

    def apply(recording: Recording) -> None:
        without_pod(recording)
        recording["job"]["status"] = {"conditions": [{"type": kind, "status": "True", "reason": reason, "message": message}]}

    return apply


def status(**values: Any) -> Change:
    """The pod has this status without a container status."""
    return lambda recording: pod_of(recording).update(status={"phase": "Failed", **values})


def with_events(**events: str) -> Change:
    return lambda recording: recording["events"].update({f"Pod/{pod_of(recording)['metadata']['name']}": events})


def container_ended(*, last: bool = False, **end: Any) -> Change:
    """The run's container ended like this. last: the kubelet has written it as an earlier end."""

    def apply(recording: Recording) -> None:
        (container,) = pod_of(recording)["status"]["containerStatuses"]
        container.update({"state": {"waiting": {"reason": "ContainerCreating"}}, "lastState": {"terminated": end}} if last else {})
        container.update({} if last else {"state": {"terminated": end}})
        pod_of(recording)["status"]["phase"] = "Failed"

    return apply


def initializing(*statuses: dict[str, Any], sidecars: tuple[str, ...] = (), **events: str) -> Change:
    """The pod waits for these init containers. Those of `sidecars` have the restart policy Always."""

    def apply(recording: Recording) -> None:
        pod = pod_of(recording)
        recording["job"]["status"].pop("conditions")
        containers = [{"name": one["name"], **({"restartPolicy": "Always"} if one["name"] in sidecars else {})} for one in statuses]
        pod["spec"]["initContainers"] = containers
        prepared = {"type": "PodReadyToStartContainers", "status": "True"}
        pod["status"].update(phase="Pending", initContainerStatuses=list(statuses), conditions=[NOT_PREPARED, prepared])
        with_events(**events)(recording)

    return apply


def no_sandbox(recording: Recording) -> None:
    """The node has no sandbox for the pod."""
    conditions = pod_of(recording)["status"]["conditions"]
    (found,) = [one for one in conditions if one["type"] == "PodReadyToStartContainers"]
    found.update(status="False", lastTransitionTime=NOT_PREPARED["lastTransitionTime"])


def suspend(wanted: bool, *, condition: str = "True", since: int = 0) -> Change:
    """The Job's suspend, and its condition Suspended that began so many seconds after the recording."""

    def apply(recording: Recording) -> None:
        recording["job"]["spec"]["suspend"] = wanted
        (found,) = recording["job"]["status"]["conditions"]
        began = datetime.fromisoformat(found["lastTransitionTime"]) + timedelta(seconds=since)
        found.update(status=condition, lastTransitionTime=began.isoformat())

    return apply


def refused_pod(recording: Recording) -> None:
    recording["events"][f"Job/{recording['name']}"] = {"FailedCreate": "no such account"}


def init_container_ended(*, last: bool = False, **end: Any) -> Change:
    """The pod's last init container ended like this, and so the pod failed. last: the kubelet has written it as an earlier end."""
    state = (
        {"state": {"waiting": {"reason": "PodInitializing"}}, "lastState": {"terminated": end}} if last else {"state": {"terminated": end}}
    )
    waits = initializing({"name": "first", "state": DONE}, {"name": "second", **state})
    return all_of(waits, lambda recording: pod_of(recording)["status"].update(phase="Failed"))


def prepare_ended(**end: Any) -> Change:
    """The init container that makes the folder of the run ended like this, and so the pod failed."""
    waits = initializing({"name": "prepare", "state": {"terminated": end}})
    return all_of(waits, lambda recording: pod_of(recording)["status"].update(phase="Failed"))


def pod_gone_with_events(**events: str) -> Change:
    """The Job failed for a pod without a rule. The pod is gone, and the cluster still has these events of it."""

    def apply(recording: Recording) -> None:
        ended_job("BackoffLimitExceeded", "Job has reached the specified backoff limit")(recording)
        recording["events"] = {f"Job/{recording['name']}": {"SuccessfulCreate": "Created pod: its-pod"}, "Pod/its-pod": events}

    return apply


def ended_now(recording: Recording) -> None:
    recording["job"]["status"]["conditions"][0]["lastTransitionTime"] = recording["now"]


def all_of(*changes: Change) -> Change:
    return lambda recording: [change(recording) for change in changes]


def later(seconds: int) -> Change:
    return lambda recording: recording.update(now=(datetime.fromisoformat(recording["now"]) + timedelta(seconds=seconds)).isoformat())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_recorded_objects(name: str):
    status, reason, exit_code, detail = EXPECTED[name]

    seen = observed(recorded(name))

    assert (seen.status, seen.reason, getattr(seen.diagnosis, "exit_code", None)) == (status, reason, exit_code), seen.text
    assert re.fullmatch(detail, seen.text, re.DOTALL), seen.text


def test_every_recording_has_an_expectation():
    assert {path.stem for path in RECORDED.glob("*.yaml")} == set(EXPECTED)


POLICY = "Container run for pod ns/gregory-train-0123456789ab-a1-abcde failed with exit code {} matching FailJob rule at index {}"
CREATE = "failed to create containerd task: failed to create shim task"
LOCATED = "The container could not be located when the pod was terminated"
DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}
NOT_PREPARED = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "change", "status", "reason", "detail"),
    [
        (
            "no_report",
            ended_job("CompletionsReached", "", kind="Complete"),
            Status.TERMINATED,
            Reason.NO_REPORT,
            rf"{JOB} completed and left no .*",
        ),
        (
            "no_report",
            ended_job("PodFailurePolicy", POLICY.format(1, 1)),
            Status.TERMINATED,
            None,
            rf"pod of {JOB} exited with code 1, left no .*",
        ),
        (
            "no_report",
            ended_job("PodFailurePolicy", POLICY.format(139, 5)),
            Status.TERMINATED,
            Reason.KILLED,
            rf"pod of {JOB} was ended by signal 11 \(SIGSEGV\) and no longer exists; "
            "find the sender of the signal or the cause of the deletion",
        ),
        (
            "no_report",
            ended_job("PodFailurePolicy", POLICY.format(137, 3)),
            Status.TERMINATED,
            Reason.KILLED,
            rf"pod of {JOB} was ended by signal 9 \(SIGKILL\), perhaps because of its memory, and no longer exists; find .*",
        ),
        (
            "no_report",
            ended_job("PodFailurePolicy", POLICY.format(255, 5)),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"pod of {JOB}: its node was down or restarted, and lost its container \(exit code 255\); it no longer exists; resume it; .*",
        ),
        (
            "pod_deleted_pod_gone",
            lambda r: r["events"].clear(),
            Status.UNKNOWN,
            None,
            rf"pod of {JOB} no longer exists, and the node may still report why it ended",
        ),
        (
            "pod_deleted_pod_gone",
            all_of(later(30), lambda r: r["events"].clear()),
            Status.TERMINATED,
            Reason.KILLED,
            rf"pod of {JOB} {BY_A_SIGNAL}",
        ),
        ("no_report", ended_job("BackoffLimitExceeded", ""), Status.TERMINATED, Reason.KILLED, rf"pod of {JOB} {BY_A_SIGNAL}"),
        (
            "no_report",
            pod_gone_with_events(Scheduled="to node-1", Started="Started container run"),
            Status.TERMINATED,
            Reason.KILLED,
            rf"pod of {JOB} {BY_A_SIGNAL}",
        ),
        (
            "no_report",
            pod_gone_with_events(Scheduled="to node-1", Started="Started container run", Killing="Stopping container run"),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"pod of {JOB} was deleted, and the end of its run was not observed; find .*",
        ),
        (
            "no_report",
            pod_gone_with_events(DeadlineExceeded="Pod was active longer", Killing="Stopping container run"),
            Status.TERMINATED,
            Reason.DEADLINE,
            rf"pod of {JOB}: it worked longer than the deadline of its pod; it no longer exists; raise .*",
        ),
        (
            "no_report",
            pod_gone_with_events(NodeNotReady="Node is not ready"),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"pod of {JOB}: its node was down or restarted, and lost its container; it no longer exists; resume it; .*",
        ),
        (
            "no_report",
            pod_gone_with_events(FailedScheduling="0/1 nodes are available: 1 Insufficient cpu."),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"pod of {JOB} was deleted before it got a node; find .*",
        ),
        (
            "pod_deleted_pod_gone",
            all_of(pod_gone_with_events(FailedScheduling="0/1 nodes are available: 1 Insufficient cpu."), ended_now),
            Status.UNKNOWN,
            None,
            rf"pod of {JOB} no longer exists, and the node may still report why it ended",
        ),
        (
            "no_report",
            pod_gone_with_events(FailedScheduling="0/1 nodes are available", Scheduled="to node-1", Started="Started container run"),
            Status.TERMINATED,
            Reason.KILLED,
            rf"pod of {JOB} {BY_A_SIGNAL}",
        ),
        (
            "no_report",
            pod_gone_with_events(Scheduled="to node-1", UnexpectedAdmissionError="no GPU"),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"pod of {JOB} ended before its run began, and no longer exists; .*",
        ),
        (
            "killed",
            container_ended(exitCode=255, reason="Unknown", message="last line"),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"{POD}: its node was down or restarted, and lost its container \(Unknown, exit code 255\); check node {NODE}\n"
            "last lines of its log:\nlast line",
        ),
        (
            "killed",
            container_ended(exitCode=137, reason="ContainerStatusUnknown", message=LOCATED),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"{POD}: its node was down or restarted, and lost its container \(ContainerStatusUnknown: {LOCATED}, exit code 137\); "
            rf"check node {NODE}",
        ),
        (
            "killed",
            container_ended(last=True, exitCode=137, reason="ContainerStatusUnknown", message=LOCATED),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"{POD}: its node was down or restarted, and lost its container .*",
        ),
        (
            "killed",
            container_ended(exitCode=128, reason="StartError", message=f"{CREATE}: context canceled: unknown"),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"{POD}: its node's container runtime stopped while it started the container \({CREATE}: context canceled: unknown\); "
            rf"check node {NODE}",
        ),
        (
            "killed",
            container_ended(exitCode=128, reason="StartError", message=f"{CREATE}: OCI runtime create failed: context canceled"),
            Status.TERMINATED,
            Reason.REFUSED,
            rf"StartError: the container of {POD} could not be started: .*",
        ),
        (
            "killed",
            container_ended(exitCode=255, reason="Error"),
            Status.TERMINATED,
            None,
            rf"{POD} exited with code 255 and left no report",
        ),
        (
            "pod_deleted",
            all_of(container_ended(exitCode=137, reason="ContainerStatusUnknown", message=LOCATED), lambda r: r.update(job=None)),
            Status.TERMINATED,
            Reason.DELETED,
            rf"the Job of {POD} was deleted, and the pod ended with exit code 137; .*",
        ),
        *(
            (
                "init_container",
                init_container_ended(last=last, exitCode=code, reason=kind, message=LOCATED),
                Status.TERMINATED,
                Reason.NODE_LOST,
                rf"{POD}: its node was down or restarted, and lost its container \(init container second: {words}, exit code {code}\); "
                "resume it; check the node",
            )
            for last, code, kind, words in [
                (False, 255, "Unknown", "Unknown"),
                (False, 137, "ContainerStatusUnknown", f"ContainerStatusUnknown: {LOCATED}"),
                (True, 137, "ContainerStatusUnknown", f"ContainerStatusUnknown: {LOCATED}"),
            ]
        ),
        *(
            (
                "init_container",
                init_container_ended(exitCode=code, reason="Error"),
                Status.TERMINATED,
                Reason.NOT_STARTED,
                rf"{POD} never started: its init container second exited with code {code}; correct podTemplatePatch",
            )
            for code in (137, 255)
        ),
        *(
            ("init_container", prepare_ended(**end), Status.TERMINATED, reason, detail)
            for end, reason, detail in [
                (
                    {"exitCode": 1, "reason": "Error", "message": "the models folder /models cannot take a model\n"},
                    Reason.STORAGE,
                    rf"{POD}: the folder of its run was not made: init container prepare exited with code 1: "
                    "the models folder /models cannot take a model",
                ),
                (
                    {"exitCode": 137, "reason": "Error"},
                    Reason.NOT_STARTED,
                    rf"{POD}: the folder of its run was not made: init container prepare exited with code 137; resume it; check node .*",
                ),
                (
                    {"exitCode": 128, "reason": "StartError", "message": "OCI runtime create failed: no dumb-init"},
                    Reason.REFUSED,
                    rf"StartError: the container of {POD} could not be started: OCI runtime create failed: no dumb-init; use an image of "
                    "Dockerfile.train, and check podTemplatePatch",
                ),
            ]
        ),
        *(
            ("init_container", change, Status.PENDING, reason, detail)
            for change, reason, detail in [
                (
                    initializing({"name": "first", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such tag"}}}),
                    Reason.IMAGE_PULL,
                    r"init container first: ErrImagePull: no such tag; for .*; correct its image in podTemplatePatch, or .*",
                ),
                (
                    initializing({"name": "prepare", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such tag"}}}),
                    Reason.IMAGE_PULL,
                    r"ErrImagePull: no such tag; for .*; check that the image of the cluster file exists and that image.pullSecrets .*",
                ),
                (
                    initializing({"name": "first", "image": "its/own:1", "state": {"waiting": {"reason": "PodInitializing"}}}),
                    Reason.IMAGE_PULL,
                    r"pulling its/own:1 of init container first; for .*",
                ),
                (
                    initializing({"name": "prepare", "state": {"waiting": {"reason": "PodInitializing"}}}, Pulled="already present"),
                    Reason.NOT_STARTED,
                    r"the node starts init container prepare; for .*, and deadlines\.pendingSeconds is 2; find out why the node is .*",
                ),
                (
                    all_of(
                        initializing({"name": "prepare", "state": {"waiting": {"reason": "PodInitializing"}}}, Pulling="", Pulled=""),
                        lambda r: r["deadlines"].update(pendingSeconds=10**9),
                    ),
                    None,
                    r"the node starts init container prepare",
                ),
                (
                    # The node lost its power between the creation of the container and its start.
                    initializing({"name": "prepare", "containerID": "containerd://6027", "state": {"waiting": {}}}, Pulled="present"),
                    Reason.NODE_LOST,
                    r"the node created init container prepare and has not started it; for .*, and deadlines\.imagePullSeconds is .*",
                ),
                (
                    # The node lost its power between the two containers. The chaos runs saw this status.
                    all_of(
                        initializing({"name": "prepare", "containerID": "containerd://c0e4", "state": DONE}, Pulled="present"), no_sandbox
                    ),
                    Reason.NODE_LOST,
                    r"the node lost the containers of the pod before the run began, and makes no others; for .*\.imagePullSeconds is .*",
                ),
                (
                    # A node that has begun with the pod has no sandbox yet.
                    all_of(initializing({"name": "prepare", "state": {"waiting": {"reason": "PodInitializing"}}}), no_sandbox),
                    Reason.NOT_STARTED,
                    r"the node prepares volumes and network; for .*",
                ),
                (
                    initializing({"name": "prepare", "state": DONE}, Pulled="already present"),
                    Reason.NOT_STARTED,
                    r"the node starts the container of the run; for .*, and deadlines\.pendingSeconds is 2; .*",
                ),
                (
                    # The pull of a second image follows that of the first.
                    initializing({"name": "first", "state": DONE}, Pulled="its/own:1", Pulling="the/image:1"),
                    Reason.IMAGE_PULL,
                    r"pulling .*; for .*",
                ),
                (
                    initializing({"name": "prepare", "state": {"running": {"startedAt": "2126-01-01T00:00:00Z"}}}),
                    None,
                    r"init container prepare runs, and the run waits for it",
                ),
                (
                    initializing({"name": "first", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no key"}}}),
                    Reason.MISSING_OBJECT,
                    r"init container first: CreateContainerConfigError: no key; for .*",
                ),
                (
                    initializing({"name": "first", "state": DONE}, {"name": "second", "state": {"running": {}}, "started": True}),
                    Reason.NOT_STARTED,
                    r"init container second runs, and the run waits for it; for .*; find out why it takes so long, or raise .*stall.*",
                ),
                (
                    initializing({"name": "first", "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no\n"}}}),
                    Reason.NOT_STARTED,
                    r"init container first exited with code 1: no; for .*; correct podTemplatePatch",
                ),
                (
                    initializing(
                        {
                            "name": "proxy",
                            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                        },
                        sidecars=("proxy",),
                    ),
                    Reason.NOT_STARTED,
                    r"CrashLoopBackOff: init container proxy exited with code 137 \(OOMKilled\); for .*",
                ),
                (
                    initializing({"name": "proxy", "state": {"running": {}}, "started": False}, sidecars=("proxy",)),
                    Reason.NOT_STARTED,
                    r"init container proxy runs, and the run waits for it; for .*",
                ),
                (
                    initializing({"name": "proxy", "state": {"running": {}}, "started": True}, sidecars=("proxy",)),
                    Reason.IMAGE_PULL,
                    r"pulling gregory\.test/base:1; for .*",
                ),
            ]
        ),
        ("no_report", ended_job("NewReason", "text"), Status.TERMINATED, None, rf"{JOB} failed: NewReason: text"),
        (
            "no_report",
            status(reason="Evicted", message="The node was low on resource: memory."),
            Status.TERMINATED,
            Reason.EVICTED,
            r".* its node ran out of a resource \(The node was low on resource: memory\.\); give .*",
        ),
        (
            "no_report",
            status(reason="Terminated", message="Pod was terminated in response to imminent node shutdown."),
            Status.TERMINATED,
            Reason.NODE_LOST,
            r".*: its node was shut down \(.*\); resume it",
        ),
        (
            "no_report",
            status(reason="Preempting", message="Preempted in order to admit critical pod"),
            Status.TERMINATED,
            Reason.PREEMPTED,
            r".*preempted.*",
        ),
        ("no_report", status(), Status.TERMINATED, Reason.EVICTED, rf"{POD} was rejected by its node {NODE}: it gave no reason; .*"),
        # A kubelet that has just started does not know its disk yet, and ends the container that runs.
        (
            "killed",
            lambda r: pod_of(r)["status"].update(reason="OutOfephemeral-storage", message="Pod was rejected: capacity: 0"),
            Status.TERMINATED,
            Reason.EVICTED,
            rf"{POD} was rejected by its node {NODE}: OutOfephemeral-storage: Pod was rejected: capacity: 0; resume it; .*",
        ),
        (
            "tainted",
            with_events(NodeNotReady="Node is not ready"),
            Status.TERMINATED,
            Reason.NODE_LOST,
            r".*: its node stopped answering, and the cluster .*",
        ),
        (
            "evicted",
            lambda r: r["job"]["status"].pop("conditions"),
            Status.PENDING,
            None,
            rf"{POD} was deleted, and {JOB} has not reacted yet",
        ),
        (
            "evicted",
            lambda r: (r["job"]["status"].pop("conditions"), r["job"]["spec"].update(suspend=True)),
            Status.PENDING,
            None,
            rf"queued again: {JOB} was suspended and its {POD} deleted",
        ),
        ("evicted", lambda r: r.update(job=None), Status.TERMINATED, Reason.EVICTED, rf"{POD}: evicted.*"),
        (
            "pod_deleted",
            lambda r: r.update(job=None),
            Status.TERMINATED,
            Reason.DELETED,
            rf"the Job of {POD} was deleted, and the pod ended with exit code 143; find the cause of the deletion; then resume the run.*",
        ),
        (
            "pod_deleted",
            lambda r: pod_of(r)["status"]["containerStatuses"][0]["state"]["terminated"].update(exitCode=137, reason="Error"),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"{POD} was deleted; its run did not stop within the grace period, exit code 137; find the cause of .*",
        ),
        (
            "pod_deleted",
            status(),
            Status.TERMINATED,
            Reason.INTERRUPTED,
            rf"{POD} was deleted before its run began; find the cause of the deletion; cancel the run if it must not continue",
        ),
        (
            "out_of_memory",
            lambda r: pod_of(r)["spec"]["containers"][0].pop("resources"),
            Status.TERMINATED,
            Reason.OUT_OF_MEMORY,
            r".*its node has no more memory.*",
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
            rf"{POD} was to end, and node {NODE} does not confirm it",
        ),
        ("node_silent", later(45_000 + 25), Status.UNKNOWN, None, rf"node {NODE}, which has {POD}, does not answer the cluster"),
        (
            "node_silent",
            later(45_000 + 30 + 30),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"node {NODE}, which has {POD}, does not answer the cluster, and its own deadline passed at .* UTC; check the node.*",
        ),
        (
            "node_silent",
            all_of(later(10**6), lambda r: pod_of(r)["metadata"].update(deletionTimestamp="2026-11-24T18:02:00Z")),
            Status.TERMINATED,
            Reason.NODE_LOST,
            rf"{POD} was to end, and node {NODE} does not confirm it, and its own deadline passed at .* UTC; check the node",
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
        # The words of the scheduler decide nothing.
        (
            "claim",
            waits_on("0/1 nodes fit", {"unbound": "Pending"}),
            Status.PENDING,
            Reason.MISSING_OBJECT,
            r"unschedulable: 0/1 nodes fit; .*imagePullSeconds.*kubectl describe pvc",
        ),
        (
            "claim",
            waits_on("0/1 nodes fit", {"unbound": "Pending"}, FailedBinding="no volume", WaitForFirstConsumer="waiting for a pod"),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            r"unschedulable: 0/1 nodes fit; .*pendingSeconds.*free or add nodes .*",
        ),
        (
            "claim",
            waits_on("0/1 nodes fit", {"unbound": "Pending"}, WaitForFirstConsumer="waiting for a pod", ProvisioningFailed="no space"),
            Status.PENDING,
            Reason.MISSING_OBJECT,
            r"unschedulable: 0/1 nodes fit; .*",
        ),
        (
            "claim",
            waits_on("no node with the topology of a PersistentVolumeClaim", {"of-another-pod": ""}),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            r"unschedulable: no node with the topology .*",
        ),
        # The claim exists now, and the event is older.
        (
            "claim_template",
            lambda r: pod_of(r)["status"].update(resourceClaimStatuses=[{"name": "gpu", "resourceClaimName": "gpu-1"}]),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            r"unschedulable: no scheduler has processed it yet; .*pendingSeconds.* or correct gpu\.claim in the cluster file, .*",
        ),
        (
            "claim_template",
            lambda r: r["events"].clear(),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            r"unschedulable: no scheduler has processed it yet; .*",
        ),
        (
            "unschedulable",
            lambda r: pod_of(r)["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            Status.PENDING,
            None,
            rf"{POD} is being deleted and did not start",
        ),
        (
            "reported",
            lambda r: pod_of(r)["status"]["containerStatuses"][0]["state"]["terminated"].update(exitCode=137, reason="Error"),
            Status.TERMINATED,
            Reason.KILLED,
            rf"{POD} was ended by signal 9 \(SIGKILL\), exit code 137, not because of its memory; find the sender on node {NODE}",
        ),
        (
            "mount",
            with_events(FailedCreatePodSandBox="no network"),
            Status.PENDING,
            Reason.REFUSED,
            r"FailedCreatePodSandBox: no network; for .*",
        ),
        (
            "mount",
            lambda r: pod_of(r)["metadata"].update(deletionTimestamp="2126-01-01T00:00:00Z"),
            Status.PENDING,
            None,
            rf"{POD} is being deleted and did not start",
        ),
        (
            "unschedulable",
            lambda r: pod_of(r)["status"].pop("conditions"),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            r"unschedulable: no scheduler has processed it yet; .*",
        ),
        (
            "quota",
            lambda r: r["events"].clear(),
            Status.PENDING,
            Reason.NOT_STARTED,
            rf"{JOB} has no pod yet; for .*; check the controller manager of the cluster",
        ),
        (
            "quota",
            lambda r: r["job"]["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
            Status.PENDING,
            None,
            rf"{JOB} is being deleted",
        ),
        (
            # The Job was released, and the Job controller has not reacted yet.
            "suspended",
            all_of(later(10**6), suspend(False), lambda r: r["job"]["status"].pop("startTime")),
            Status.PENDING,
            None,
            rf"{JOB} was released and starts",
        ),
        (
            "suspended",
            all_of(later(10**6), suspend(False, condition="False")),
            Status.PENDING,
            Reason.NOT_STARTED,
            rf"{JOB} has no pod yet; for .*",
        ),
        (
            # The time in the queue counts neither before nor after an admission.
            "suspended",
            all_of(later(10**6), suspend(False, condition="False", since=10**6 - 100)),
            Status.PENDING,
            None,
            rf"{JOB} has no pod yet",
        ),
        (
            "suspended",
            all_of(later(10**6), suspend(False, condition="False", since=10**6 - 100), refused_pod),
            Status.PENDING,
            None,
            r"FailedCreate: no such account",
        ),
        (
            # Preempted: the Job is to be suspended, and its pod is already gone.
            "suspended",
            all_of(later(10**6), suspend(True, condition="False"), lambda r: r["deadlines"].update(queueSeconds=60)),
            Status.PENDING,
            None,
            rf"queued again: {JOB} is being suspended",
        ),
        (
            "suspended",
            all_of(later(10**6), lambda r: r["job"]["status"].pop("conditions"), lambda r: r["deadlines"].update(queueSeconds=60)),
            Status.PENDING,
            None,
            rf"queued again: {JOB} is being suspended",
        ),
        (
            "suspended",
            all_of(later(10**6), lambda r: r["job"]["status"].clear(), lambda r: r["deadlines"].update(queueSeconds=60)),
            Status.PENDING,
            Reason.UNSCHEDULABLE,
            rf"queued: {JOB} is suspended; for .*",
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
            r"queued: waits for Kueue's queue gpus; for \d+ s, and deadlines\.queueSeconds is 60; check why .*",
        ),
    ],
)
def test_changed_objects(name: str, change: Change, status: Status, reason: Reason | None, detail: str):
    seen = changed(name, change)

    assert (seen.status, seen.reason) == (status, reason), seen.text
    assert re.fullmatch(detail, seen.text, re.DOTALL), seen.text


def test_before_its_deadline_a_pending_run_has_a_detail_and_no_reason():
    seen = changed("image_pull", lambda recording: recording["deadlines"].update(imagePullSeconds=3600))

    assert (seen.status, seen.reason) == (Status.PENDING, None)
    assert re.fullmatch(r'(ErrImagePull|ImagePullBackOff): .*"gregory\.test/none:1".*', seen.text)
    assert "deadlines" not in seen.text


def test_a_run_has_ended_even_if_a_sidecar_still_runs():
    def add_sidecar(recording: Recording) -> None:
        pod_of(recording)["status"]["phase"] = "Running"
        pod_of(recording)["status"]["containerStatuses"].append({"name": "exporter", "state": {"running": {}}})

    assert changed("error", add_sidecar).status is Status.TERMINATED


def test_the_newer_of_two_pods_counts():
    def add_newer_pod(recording: Recording) -> None:
        newer = deepcopy(recorded("node_silent"))["pods"][0]
        newer["metadata"]["creationTimestamp"] = "2126-01-01T00:00:00Z"
        newer["status"]["conditions"] = []
        recording["pods"].append(newer)

    assert changed("evicted", add_newer_pod).status is Status.ALIVE


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("node_silent", False), ("evicted", False), ("tainted", True), ("evicted_pod_gone", True), ("mount", True), ("quota", True),
     ("image_pull", False), ("unschedulable", False), ("suspended", False), ("job_deleted", False), ("out_of_memory", False),
     ("pod_deleted_pod_gone", True), ("claim_template", True), ("device_class", False), ("no_driver", True)],
)  # fmt: skip
def test_events_are_requested_if_only_they_hold_the_cause(name: str, wanted: bool):
    recording = recorded(name)

    assert wants_events(recording["job"], recording["pods"]) is wanted
