"""Causes for which a container ends or never starts: how to produce each, and the expected observation.

tests/kubernetes/test_ends.py produces them on the cluster. tests/launch/kubernetes/test_diagnose_job.py reads the recorded objects.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gregory.launch.runner import Status
from gregory.runs.reasons import Reason
from gregory.runs.spec import AlgorithmOutcome, RunOutcome, RunSpec
from tools.cluster import devices
from tools.cluster.cluster import GPU, NODE
from tools.cluster.namespace import SLEEPS, a_run, pod_of

GREEDY = "bytearray(300_000_000)"
CHILD = f"import subprocess, sys; print('growing', flush=True); subprocess.run([sys.executable, '-c', '{GREEDY}']); sys.exit(7)"
REPORTS = "open('/dev/termination-log', 'w').write({!r}); import sys; sys.exit({})"
POD = r"pod gregory-train-\w{12}-a1-\w{5}"
JOB = r"Job gregory-train-\w{12}-a1"
Change = Callable[[dict[str, Any]], None]


def changed(**container: Any) -> Change:
    return lambda job: pod_of(job)["containers"][0].update(container)


def pod_changed(**pod: Any) -> Change:
    return lambda job: pod_of(job).update(pod)


def with_init_container(**container: Any) -> Change:
    """An init container like the run's container, with these differences."""
    return lambda job: pod_of(job).update(initContainers=[{**pod_of(job)["containers"][0], "name": "first", **container}])


def with_volume(source: dict[str, Any]) -> Change:
    def apply(job: dict[str, Any]) -> None:
        pod_of(job)["volumes"].append({"name": "none", **source})
        pod_of(job)["containers"][0]["volumeMounts"].append({"name": "none", "mountPath": "/none"})

    return apply


def with_claim(template: str) -> Change:
    """A claim for a GPU from this template."""

    def apply(job: dict[str, Any]) -> None:
        pod_of(job)["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": template}]
        pod_of(job)["containers"][0]["resources"]["claims"] = [{"name": "gpu"}]

    return apply


def outcome(spec: RunSpec, *, reason: Reason | None = None) -> str:
    algorithm = AlgorithmOutcome(algorithm="lgbm_tfidf", run_log_id=1, version="20260101", success=reason is None, reason=reason)
    return RunOutcome(run_id=spec.run_id, attempt=spec.attempt, algorithms=(algorithm,)).model_dump_json()


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What is run, what is asked for it, and what must be said of it: reason, exit code, and a pattern for the whole detail."""

    code: str = SLEEPS
    change: Change | None = None
    status: Status = Status.TERMINATED
    reason: Reason | None
    exit_code: int | None = None
    detail: str
    spec: RunSpec = field(default_factory=a_run)


# Claim templates of the test: the DeviceClass of each, and its condition for devices.
TEMPLATES = {
    "of-no-class": ("none.gregory.test", "true"),
    "of-no-device": (devices.DRIVER, "device.driver == 'another'"),
    "of-no-driver": (devices.NOT_INSTALLED, "true"),
}
# Those whose pod has a claim.
CLAIMED = {"claim_template", "device_class", "no_device", "no_driver"}
NO_GPU, SUCCESS = a_run(), a_run()
TOO_LATE = r"; for \d+ s, and deadlines\.{} is \d+; .*"
CAUSES = {
    "out_of_memory": Cause(
        code=GREEDY,
        reason=Reason.OUT_OF_MEMORY,
        exit_code=137,
        detail=rf"OOMKilled: {POD} ran out of memory: its limit is 128Mi \(exit code 137\); raise resources\.limits\.memory in the cluster "
        r"file, or lower bert\.batch_size",
    ),
    "out_of_memory_child": Cause(
        code=CHILD,
        reason=Reason.OUT_OF_MEMORY,
        exit_code=7,
        detail=rf"OOMKilled: {POD} ran out of memory: its limit is 128Mi \(exit code 7\); .*\nlast lines of its log:\ngrowing",
    ),
    "no_report": Cause(
        code="print('bye')", reason=Reason.NO_REPORT, exit_code=0, detail=rf"{POD} exited with code 0 and left no report; read its log"
    ),
    "error": Cause(
        code="raise ValueError('zero: \\x00')",
        reason=None,
        exit_code=1,
        detail=rf"{POD} exited with code 1 and left no report\nlast lines of its log:\n(?s:.*)ValueError: zero: \0",
    ),
    "reported": Cause(
        code=REPORTS.format(outcome(SUCCESS), 0),
        spec=SUCCESS,
        reason=None,
        exit_code=0,
        detail=rf"{POD} exited with code 0 and left a report",
    ),
    "no_gpu": Cause(
        code=REPORTS.format(outcome(NO_GPU, reason=Reason.NO_GPU), 1),
        spec=NO_GPU,
        reason=Reason.NO_GPU,
        exit_code=1,
        detail=rf"{POD} was assigned a GPU and found none on node {NODE}; check driver and device plugin of the node, or set .*",
    ),
    "terminated": Cause(
        code="import sys; sys.exit(143)",
        reason=Reason.KILLED,
        exit_code=143,
        detail=rf"{POD} was ended by signal 15 \(SIGTERM\), exit code 143, not because of its memory; find the sender on node {NODE}",
    ),
    "deadline": Cause(
        change=pod_changed(activeDeadlineSeconds=8),
        reason=Reason.DEADLINE,
        exit_code=143,
        detail=rf"{POD}: it worked longer than the deadline of its pod "
        r"\(Pod was active on the node longer than the specified deadline\); .*",
    ),
    "deadline_of_the_job": Cause(
        # That waits for a node, so that its pod is gone at once.
        change=lambda job: (job["spec"].update(activeDeadlineSeconds=2), pod_of(job).update(nodeSelector={"no": "node"})),
        reason=Reason.DEADLINE,
        detail=rf"{JOB}: its Job existed longer than its deadline; its pod was deleted; raise deadlines\..*",
    ),
    "start_error": Cause(
        change=changed(command=["no-such-program"]),
        reason=Reason.REFUSED,
        exit_code=128,
        detail=rf"StartError: the container of {POD} could not be started: .*no-such-program.*; use an image of Dockerfile.train, .*",
    ),
    "admission": Cause(
        change=lambda job: (pod_of(job).update(nodeName=NODE), pod_of(job)["containers"][0]["resources"]["limits"].update({GPU: "3"})),
        reason=Reason.EVICTED,
        detail=rf"{POD} was rejected by its node {NODE}: UnexpectedAdmissionError: .*{GPU}.*; resume it; check the node",
    ),
    "init_container": Cause(
        change=with_init_container(command=["python3", "-c", "import sys; sys.exit('no')"]),
        reason=Reason.NOT_STARTED,
        detail=rf"{POD} never started: its init container first exited with code 1: no; correct podTemplatePatch",
    ),
    "init_image_pull": Cause(
        change=with_init_container(image="gregory.test/none:1"),
        status=Status.PENDING,
        reason=Reason.IMAGE_PULL,
        detail=r'init container first: (ErrImagePull|ImagePullBackOff): .*"gregory\.test/none:1".*' + TOO_LATE.format("imagePullSeconds"),
    ),
    "init_slow": Cause(
        change=with_init_container(command=["python3", "-c", SLEEPS]),
        status=Status.PENDING,
        reason=Reason.NOT_STARTED,
        detail="init container first runs, and the run waits for it" + TOO_LATE.format("stallSeconds"),
    ),
    "disk": Cause(
        code="open('/tmp/big', 'wb').write(b'x' * 30_000_000); " + SLEEPS,
        change=changed(resources={"limits": {"memory": "128Mi", "ephemeral-storage": "10Mi"}}),
        reason=Reason.EVICTED,
        exit_code=143,
        detail=rf"{POD}: evicted: it used more disk than its limit \(Pod ephemeral local storage usage exceeds .* 10Mi\.\); raise .*",
    ),
    "image_pull": Cause(
        change=changed(image="gregory.test/none:1"),
        status=Status.PENDING,
        reason=Reason.IMAGE_PULL,
        detail=r'(ErrImagePull|ImagePullBackOff): .*"gregory\.test/none:1".*' + TOO_LATE.format("imagePullSeconds"),
    ),
    "image_never": Cause(
        change=changed(image="gregory.test/none:1", imagePullPolicy="Never"),
        status=Status.PENDING,
        reason=Reason.IMAGE_PULL,
        detail=r'ErrImageNeverPull: .*"gregory\.test/none:1".*' + TOO_LATE.format("imagePullSeconds"),
    ),
    "unschedulable": Cause(
        change=lambda job: pod_of(job)["containers"][0]["resources"]["limits"].update({GPU: "3"}),
        status=Status.PENDING,
        reason=Reason.UNSCHEDULABLE,
        detail=rf"unschedulable: 0/\d nodes are available: .*Insufficient {GPU}.*" + TOO_LATE.format("pendingSeconds"),
    ),
    "no_such_node": Cause(
        change=pod_changed(nodeSelector={"nvidia.com/gpu.product": "H100"}),
        status=Status.PENDING,
        reason=Reason.UNSCHEDULABLE,
        detail=r"unschedulable: 0/\d nodes are available: .*node affinity/selector.*" + TOO_LATE.format("pendingSeconds"),
    ),
    "service_account": Cause(
        change=pod_changed(serviceAccountName="nobody"),
        status=Status.PENDING,
        reason=Reason.REFUSED,
        detail=r'FailedCreate: .*serviceaccount "nobody" not found' + TOO_LATE.format("imagePullSeconds"),
    ),
    "secret": Cause(
        change=changed(envFrom=[{"secretRef": {"name": "none"}}]),
        status=Status.PENDING,
        reason=Reason.MISSING_OBJECT,
        detail=r'CreateContainerConfigError: secret "none" not found' + TOO_LATE.format("imagePullSeconds"),
    ),
    "secret_key": Cause(
        change=changed(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "database", "key": "NO_KEY"}}}]),
        status=Status.PENDING,
        reason=Reason.MISSING_OBJECT,
        detail=r"CreateContainerConfigError: couldn't find key NO_KEY in Secret .*" + TOO_LATE.format("imagePullSeconds"),
    ),
    "mount": Cause(
        change=with_volume({"configMap": {"name": "none"}}),
        status=Status.PENDING,
        reason=Reason.MISSING_OBJECT,
        detail=r'FailedMount: .*configmap "none" not found' + TOO_LATE.format("imagePullSeconds"),
    ),
    "claim": Cause(
        change=with_volume({"persistentVolumeClaim": {"claimName": "unbound"}}),
        status=Status.PENDING,
        reason=Reason.MISSING_OBJECT,
        detail=r"unschedulable: .*unbound immediate PersistentVolumeClaims.*" + TOO_LATE.format("imagePullSeconds"),
    ),
    "no_claim": Cause(
        change=with_volume({"persistentVolumeClaim": {"claimName": "none"}}),
        status=Status.PENDING,
        reason=Reason.MISSING_OBJECT,
        detail=r'unschedulable: .*persistentvolumeclaim "none" not found.*' + TOO_LATE.format("imagePullSeconds"),
    ),
    "claim_template": Cause(
        change=with_claim("none"),
        status=Status.PENDING,
        reason=Reason.MISSING_OBJECT,
        detail=r'FailedResourceClaimCreation: .*"none" not found.*' + TOO_LATE.format("imagePullSeconds"),
    ),
    "device_class": Cause(
        change=with_claim("of-no-class"),
        status=Status.PENDING,
        reason=Reason.UNSCHEDULABLE,
        detail=r"unschedulable: .*device class none\.gregory\.test does not exist.*" + TOO_LATE.format("pendingSeconds"),
    ),
    "no_device": Cause(
        change=with_claim("of-no-device"),
        status=Status.PENDING,
        reason=Reason.UNSCHEDULABLE,
        detail=r"unschedulable: 0/\d nodes are available: .*cannot allocate all claims.*" + TOO_LATE.format("pendingSeconds"),
    ),
    "no_driver": Cause(
        change=with_claim("of-no-driver"),
        status=Status.PENDING,
        reason=Reason.REFUSED,
        detail=r"FailedPrepareDynamicResources: .*absent\.gregory\.test.*" + TOO_LATE.format("imagePullSeconds"),
    ),
}
