"""Render the Job of an attempt from its specification and the cluster file. Pure, and imports no client.

One Job is one attempt with one pod, which Kubernetes starts once. Only the reconciler decides about another attempt.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gregory.env import BASE_MODELS_DIGEST, DATABASE_VARIABLES, DEFAULT_PORT, REQUIRE_AUTH, SSL_MODE
from gregory.launch.errors import SubmitError
from gregory.launch.image import DATABASE_FILES_IN_IMAGE, MODELS_IN_IMAGE, PREPARE_COMMAND
from gregory.launch.kubernetes import pod_patch
from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.cluster_database import Database
from gregory.launch.kubernetes.cluster_sections import Toleration
from gregory.launch.kubernetes.cluster_values import Section
from gregory.launch.kubernetes.gpu_claim import claims_of_container, claims_of_pod
from gregory.launch.kubernetes.labels import APP, CONTROLLER_UID, KUEUE_PRIORITY, KUEUE_QUEUE, annotations_of, labels_of
from gregory.launch.kubernetes.pod_patch import CONTAINER, PREPARE
from gregory.launch.kubernetes.volumes import drop_empty, mounts_of_run, volumes_of
from gregory.runs import exit_codes
from gregory.runs.spec import Attempt, HandleKind, RunHandle, RunSpec

# A Job's name becomes a label of its pods.
_LABEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# The default path of the termination log in Kubernetes.
TERMINATION_LOG = "/dev/termination-log"
_RULE_INDEX = re.compile(r"rule at index (\d+)")
# The first matching rule counts. An evicted pod also exits with 143 or 137, so the rule `disrupted` comes before these.
_EXIT_CODES = {
    "failed": exit_codes.FAILURE,
    "bad_specification": exit_codes.USAGE,
    "killed": exit_codes.SIGKILL,
    "terminated": exit_codes.SIGTERM,
}
# A pod that a signal ended. The action FailJob would also fail a suspended Job as long as its deleted pod exists. The action Count
# does not count a pod that the Job controller deleted itself.
_COUNTED = ("killed", "terminated")
# Rules have no names: the condition of a Job contains only the index. So the order must not change while Jobs exist.
FAILURE_RULES = ("disrupted", *_EXIT_CODES, "exited")

_DRAINS = {
    # Autoscalers must not empty a node with a training.
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}


def job_name(spec: Attempt) -> str:
    """The name of the attempt's Job. A second submission finds the first by it. Raises SubmitError."""
    name = f"{APP}-{spec.run_id}-a{spec.attempt}"
    if not _LABEL_NAME.fullmatch(name):
        raise SubmitError(
            f"{name!r} is no name of a Job: it may have at most 63 characters of a-z, 0-9 and -; train again for a valid run id"
        )
    return name


def handle_host(config: ClusterConfig, *, cluster_id: str) -> str:
    """The host of a Job's handle: one namespace of one cluster. The names in kubeconfig files play no part."""
    return HandleKind.JOB.host(f"{cluster_id}/{config.namespace}")


def matched_rule(message: str) -> str | None:
    """The one of FAILURE_RULES in the message of a Job's condition PodFailurePolicy. The condition remains after the pod."""
    found = _RULE_INDEX.search(message)
    return FAILURE_RULES[int(found[1])] if found and int(found[1]) < len(FAILURE_RULES) else None


def render_job(spec: RunSpec, config: ClusterConfig, *, cluster_id: str, connection: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The Job of this attempt. It contains no secret. `cluster_id` is the uid of the namespace kube-system.

    connection: variables of the submitter that change the connection to the database. The cluster file takes precedence.
    """
    config = config.of_kind(spec.work)
    deadlines, kueue = config.deadlines, config.kueue
    working_seconds = deadlines.image_pull_seconds + deadlines.run_seconds
    queue = {KUEUE_QUEUE: kueue.queue_name, KUEUE_PRIORITY: kueue.priority_class}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(spec),
            "namespace": config.namespace,
            "labels": config.labels | labels_of(spec) | drop_empty(queue),
            "annotations": config.annotations | annotations_of(spec),
        },
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            # The deadline of the pod comes first, because it keeps pod and log. This deadline deletes them.
            "activeDeadlineSeconds": deadlines.pending_seconds + working_seconds + config.grace_period_seconds,
            "ttlSecondsAfterFinished": config.ttl_seconds_after_finished,
            # Two pods must not write to one folder.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": list(_failure_rules())},
            "template": pod_patch.merged(
                {
                    "metadata": {
                        "labels": config.labels | labels_of(spec),
                        "annotations": _DRAINS
                        | {"kubectl.kubernetes.io/default-container": CONTAINER}
                        | config.annotations
                        | annotations_of(spec),
                    },
                    # This time begins when the kubelet accepts the pod, so it includes the image pull.
                    "spec": {"activeDeadlineSeconds": working_seconds}
                    | _pod(spec, config, cluster_id=cluster_id, connection=connection or {}),
                },
                config.pod_template_patch,
            ),
        },
    }


def _failure_rules() -> Iterator[dict[str, Any]]:
    yield {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    for name, code in _EXIT_CODES.items():
        yield _on_exit("Count" if name in _COUNTED else "FailJob", operator="In", values=[code])
    yield _on_exit("FailJob", operator="NotIn", values=sorted(_EXIT_CODES.values()))


def _on_exit(action: str, **codes: Any) -> dict[str, Any]:
    # Only the container of the run counts. The exit code of a sidecar is no evidence about the run.
    return {"action": action, "onExitCodes": {"containerName": CONTAINER, **codes}}


def _pod(spec: RunSpec, config: ClusterConfig, *, cluster_id: str, connection: Mapping[str, str]) -> dict[str, Any]:
    ids = {"runAsUser": config.security.run_as_user, "runAsGroup": config.security.run_as_group, "fsGroup": config.security.fs_group}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": config.grace_period_seconds,
        "serviceAccountName": config.service_account_name,
        "automountServiceAccountToken": False,
        # Kubernetes would add variables with the names of the namespace's services.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            # OpenShift chooses those that are not set, and refuses most others.
            **{name: number for name, number in ids.items() if number is not None},
            # The default changes the group of every file in the models volume at every start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **_placement(config),
        "initContainers": [_prepare(spec, config)],
        "containers": [_container(spec, config, cluster_id=cluster_id, connection=connection)],
        "volumes": volumes_of(config),
    }


def _prepare(spec: RunSpec, config: ClusterConfig) -> dict[str, Any]:
    """The init container that makes the folder of the run as its user. The kubelet would make it as root.

    It alone mounts all models. It ends before the run begins, and it has no credentials and no data.
    """
    return {
        "name": PREPARE,
        **_any_container(config, {}, {}),
        "command": list(PREPARE_COMMAND),
        "env": [_variable("GREGORY_RUN_SPEC", spec.model_dump_json())],
        "volumeMounts": [drop_empty({"name": "models", "mountPath": MODELS_IN_IMAGE, "subPath": config.volumes.models.sub_path})],
    }


def _any_container(config: ClusterConfig, devices: dict[str, str], claims: dict[str, Any]) -> dict[str, Any]:
    """What both containers have. The scheduler counts the larger request of the two, so the first one costs nothing."""
    return {
        "image": config.image.reference,
        "imagePullPolicy": config.image.pull_policy,
        "resources": {
            "requests": drop_empty(config.resources.requests.model_dump(by_alias=True)),
            "limits": drop_empty(config.resources.limits.model_dump(by_alias=True)) | devices,
            **claims,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
        # If a container ends without an outcome report, the kubelet keeps the end of its log in the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _placement(config: ClusterConfig) -> dict[str, Any]:
    """The settings that are not empty. The cluster has defaults for the others."""
    tolerations = config.tolerations
    if tolerations is None:
        tolerations = tuple(Toleration(key=key, effect="NoSchedule") for key in config.gpu.taints)
    return drop_empty(
        {
            "nodeSelector": dict(config.node_selector),
            "affinity": drop_empty(config.affinity.model_dump(by_alias=True)),
            "tolerations": [drop_empty(toleration.model_dump(by_alias=True)) for toleration in tolerations],
            "runtimeClassName": config.runtime_class_name,
            "schedulerName": config.scheduler_name,
            "priorityClassName": config.priority_class_name,
            "imagePullSecrets": [{"name": name} for name in config.image.pull_secrets],
            "resourceClaims": claims_of_pod(config),
        }
    )


def _container(spec: RunSpec, config: ClusterConfig, *, cluster_id: str, connection: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        **_any_container(config, config.gpu.plugin_resource, claims_of_container(config)),
        "env": [
            *_our_variables(spec, config, cluster_id=cluster_id),
            *_connection_variables(config, connection),
            *(_plain(variable) for variable in config.env),
        ],
        **drop_empty({"envFrom": [_plain(source) for source in config.env_from]}),
        "volumeMounts": mounts_of_run(spec, config),
    }


def _our_variables(spec: RunSpec, config: ClusterConfig, *, cluster_id: str) -> list[dict[str, Any]]:
    handle = RunHandle(host=handle_host(config, cluster_id=cluster_id), name=job_name(spec), uid="$(GREGORY_JOB_UID)")
    variables = [
        *_database_variables(config.database),
        _variable("GREGORY_RUN_SPEC", spec.model_dump_json()),
        # The Job has no uid before it exists, so the kubelet inserts it into the handle. Kubernetes expands only variables defined above.
        _from_pod("GREGORY_JOB_UID", f"metadata.labels['{CONTROLLER_UID}']"),
        {"name": "GREGORY_RUN_HANDLE", "value": handle.model_dump_json()},
        _from_pod("GREGORY_NODE_NAME", "spec.nodeName"),
        # The reconciler decides about retries. An interrupted run leaves its rows open, and writes its outcome report for the reconciler.
        _variable("GREGORY_RETRIED", "true"),
        _variable("GREGORY_TERMINATION_LOG", TERMINATION_LOG),
    ]
    if config.volumes.base_models.digest:
        variables.append(_variable(BASE_MODELS_DIGEST, config.volumes.base_models.digest))
    if config.image.by_digest:
        variables.append(_variable("GREGORY_IMAGE_DIGEST", config.image.by_digest))
    return variables


def _database_variables(database: Database) -> list[dict[str, Any]]:
    sources = database.model_dump() | {"port": database.port or DEFAULT_PORT}
    # A Secret without a port has the default port.
    optional = {"port": {"optional": True}}
    return [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": database.existing_secret, "key": key, **optional.get(part, {})}}}
        if (key := sources[f"{part}_key"])
        else _variable(variable, str(sources[part]))
        for part, variable in DATABASE_VARIABLES.items()
    ]


def _connection_variables(config: ClusterConfig, connection: Mapping[str, str]) -> list[dict[str, Any]]:
    """How the run connects to the database: encryption, certificates and the variables of libpq."""
    database, named = config.database, {variable.name for variable in config.env}
    files = {variable: DATABASE_FILES_IN_IMAGE[variable] for variable in database.secret_files}
    values = {**connection, **files, **drop_empty({SSL_MODE: database.ssl_mode, REQUIRE_AUTH: database.require_auth})}
    return [_variable(name, value) for name, value in values.items() if name not in named]


def _variable(name: str, value: str) -> dict[str, Any]:
    # Kubernetes expands $(NAME) in values.
    return {"name": name, "value": value.replace("$", "$$")}


def _from_pod(name: str, field: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}


def _plain(section: Section) -> dict[str, Any]:
    """A section that is an object of the API, with the keys that the file sets."""
    return section.model_dump(by_alias=True, exclude_unset=True)
