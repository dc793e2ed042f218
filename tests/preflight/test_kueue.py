"""Preflight with Kueue: the answers of the API server are made, as Kueue 0.17 gives them."""

from typing import Any
from unittest.mock import Mock

import pytest

from gregory.launch.errors import Refused
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.labels import KUEUE_PRIORITY, KUEUE_QUEUE
from gregory.launch.kubernetes.manifest import render_job
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.preconditions import probe_spec
from gregory.preflight.kueue import check_kueue
from tools import golden_jobs

COVERED = {"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}
OF_CHART = "WARNING cluster     Kueue takes the chart's own Jobs and pods in namespace train: "


def queue(*, active: str = "True", resources: set[str] = COVERED) -> dict[str, Any]:
    condition = {"type": "Active", "status": active, "reason": "ClusterQueueDoesNotExist", "message": "Can't submit new workloads"}
    flavor = {"name": "default", "resources": [{"name": name, "total": "0"} for name in sorted(resources)]}
    return {"spec": {"clusterQueue": "all"}, "status": {"conditions": [condition], "flavorsReservation": [flavor]}}


@pytest.fixture
def config() -> ClusterConfig:
    config = load_cluster_config(golden_jobs.HERE / "cluster-minimal.yaml")
    return config.model_copy(
        update={"kueue": config.kueue.model_copy(update={"queue_name": "gpus", "priority_class": "high", "read_workloads": True})}
    )


@pytest.fixture
def namespace() -> Mock:
    """A namespace in which all is well."""
    found = Mock(spec=Namespace)
    found.name = "train"
    found.create_job.side_effect = lambda job, dry_run: {"metadata": job["metadata"], "spec": {}}
    found.local_queue.return_value, found.workloads.return_value, found.exists.return_value = queue(), [], True
    return found


def findings(namespace: Mock, config: ClusterConfig) -> list[str]:
    return [str(finding) for finding in check_kueue(namespace, config, render_job(probe_spec(), config, cluster_id="id"))]


def test_a_complete_queue_is_ready(namespace: Mock, config: ClusterConfig):
    assert findings(namespace, config) == [
        "OK      cluster     LocalQueue gpus has quota for every resource of a run",
        "OK      cluster     WorkloadPriorityClass high exists",
    ]
    (asked,) = namespace.create_job.call_args_list
    assert asked.kwargs == {"dry_run": True}
    assert not {KUEUE_QUEUE, KUEUE_PRIORITY} & asked.args[0]["metadata"]["labels"].keys()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ({}, "ERROR   cluster     there is no LocalQueue gpus; create it, or correct kueue.queueName in the cluster file"),
        (
            queue(active="False"),
            "ERROR   cluster     LocalQueue gpus admits no run: ClusterQueueDoesNotExist: Can't submit new workloads; "
            "check its stopPolicy and ClusterQueue all: kubectl describe clusterqueue all",
        ),
        (
            queue(resources={"nvidia.com/gpu"}),
            "ERROR   cluster     LocalQueue gpus never admits a run: its ClusterQueue has no quota for cpu, ephemeral-storage, memory; "
            "add these to coveredResources and flavors of the ClusterQueue, or exclude them in Kueue's resources.excludeResourcePrefixes",
        ),
        (
            None,
            "WARNING cluster     no permission to read LocalQueue gpus; give this account get and list of workloads and localqueues, "
            "as the chart does with job.kueue.readWorkloads; or check it: kubectl get localqueue gpus",
        ),
    ],
)
def test_a_queue_that_admits_no_run_is_named(namespace: Mock, config: ClusterConfig, answer: dict[str, Any] | None, line: str):
    namespace.local_queue.return_value = answer

    assert findings(namespace, config)[0] == line


@pytest.mark.parametrize(
    ("there", "line"),
    [
        (
            False,
            "ERROR   cluster     there is no WorkloadPriorityClass high: Kueue admits no run; create it, or correct kueue.priorityClass",
        ),
        (None, "WARNING cluster     no permission to read WorkloadPriorityClass high; check it with another account: kubectl get "),
    ],
)
def test_a_missing_priority_class_is_named(namespace: Mock, config: ClusterConfig, there: bool | None, line: str):
    namespace.exists.return_value = there

    assert findings(namespace, config)[-1].startswith(line)
    namespace.exists.assert_called_with("workloadpriorityclasses", "high")


def test_workloads_that_cannot_be_read_are_a_warning(namespace: Mock, config: ClusterConfig):
    namespace.workloads.return_value = None

    assert findings(namespace, config)[1].startswith("WARNING cluster     no permission to list Workloads, or no Kueue: ")


@pytest.mark.parametrize(
    ("labels", "cause"),
    [
        ({KUEUE_QUEUE: "default"}, "its LocalQueue default is that of every Job without a queue; "),
        ({}, "it manages Jobs without a queue; "),
    ],
)
def test_jobs_of_the_chart_that_kueue_takes_are_named(namespace: Mock, labels: dict[str, str], cause: str):
    """Also without a queue in the cluster file."""
    without = load_cluster_config(golden_jobs.HERE / "cluster-minimal.yaml")
    namespace.create_job.side_effect = lambda job, dry_run: {"metadata": {"labels": labels}, "spec": {"suspend": True}}

    (line,) = findings(namespace, without)

    assert line.startswith(f"{OF_CHART}{cause}installing, testing, migrating and uninstalling wait for quota; give the LocalQueue another ")


def test_a_refused_dry_run_is_told_once_by_the_cluster_check(namespace: Mock, config: ClusterConfig):
    namespace.create_job.side_effect = Refused("webhook down", status=500, reason="InternalError")

    assert [line[:2] for line in findings(namespace, config)] == ["OK", "OK"]
