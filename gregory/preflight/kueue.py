"""Checks of Kueue: the queue of the runs, and whether Kueue takes Jobs that name no queue."""

from collections.abc import Iterator, Mapping
from typing import Any

from gregory.launch.errors import Refused
from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.diagnose.pod_status import Object, condition
from gregory.launch.kubernetes.labels import KUEUE_PRIORITY, KUEUE_QUEUE
from gregory.launch.kubernetes.namespace import Namespace
from gregory.preflight.finding import Area, Finding

_CLUSTER = Area("cluster")
_ROLE = "give this account get and list of workloads and localqueues, as the chart does with job.kueue.readWorkloads"


def check_kueue(namespace: Namespace, config: ClusterConfig, job: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings for the Job of a run. It is created in dry runs only."""
    yield from _without_queue(namespace, job)
    kueue = config.kueue
    if not kueue.queue_name:
        return
    yield _queue(namespace, kueue.queue_name, job)
    if kueue.read_workloads and namespace.workloads() is None:
        yield _CLUSTER.warning("no permission to list Workloads, or no Kueue: rows tell only a part of why a run waits", _ROLE)
    if kueue.priority_class:
        yield _priority(namespace, kueue.priority_class)


def _without_queue(namespace: Namespace, job: Mapping[str, Any]) -> Iterator[Finding]:
    """Kueue's webhook suspends a Job that it takes, in a dry run too."""
    labels = {key: value for key, value in job["metadata"]["labels"].items() if key not in (KUEUE_QUEUE, KUEUE_PRIORITY)}
    try:
        made = namespace.create_job({**job, "metadata": {**job["metadata"], "labels": labels}}, dry_run=True)
    except Refused:
        # The dry run of the Job itself has told it.
        return
    if not made["spec"].get("suspend"):
        return
    queue = made["metadata"].get("labels", {}).get(KUEUE_QUEUE)
    cause = f"its LocalQueue {queue} is that of every Job without a queue" if queue else "it manages Jobs without a queue"
    yield _CLUSTER.warning(
        f"Kueue takes the chart's own Jobs and pods in namespace {namespace.name}: {cause}; "
        "installing, testing, migrating and uninstalling wait for quota",
        "give the LocalQueue another name than default, or exclude the namespace in managedJobsNamespaceSelector of Kueue",
    )


def _queue(namespace: Namespace, name: str, job: Mapping[str, Any]) -> Finding:
    queue = namespace.local_queue(name)
    if queue is None:
        return _CLUSTER.warning(f"no permission to read LocalQueue {name}", f"{_ROLE}; or check it: kubectl get localqueue {name}")
    if not queue:
        return _CLUSTER.error(f"there is no LocalQueue {name}", "create it, or correct kueue.queueName in the cluster file")
    inactive = condition(queue, "Active", status="False")
    if inactive is not None:
        behind = queue["spec"].get("clusterQueue", "")
        return _CLUSTER.error(
            f"LocalQueue {name} admits no run: {inactive.get('reason')}: {inactive.get('message')}",
            f"check its stopPolicy and ClusterQueue {behind}: kubectl describe clusterqueue {behind}",
        )
    uncovered = sorted(_requested(job) - _covered(queue))
    if condition(queue, "Active") is not None and uncovered:
        return _CLUSTER.error(
            f"LocalQueue {name} never admits a run: its ClusterQueue has no quota for {', '.join(uncovered)}",
            "add these to coveredResources and flavors of the ClusterQueue, or exclude them in Kueue's resources.excludeResourcePrefixes",
        )
    return _CLUSTER.ok(f"LocalQueue {name} has quota for every resource of a run")


def _requested(job: Mapping[str, Any]) -> set[str]:
    """The resources that the containers of the Job request. A limit alone is a request too."""
    pod = job["spec"]["template"]["spec"]
    resources = [container.get("resources", {}) for container in (*pod["containers"], *pod.get("initContainers", ()))]
    return {name for one in resources for part in ("requests", "limits") for name in one.get(part, {})}


def _covered(queue: Object) -> set[str]:
    """The resources with a quota. Kueue lists all of them in the status of the queue, used or not."""
    flavors = queue.get("status", {}).get("flavorsReservation") or []
    return {resource["name"] for flavor in flavors for resource in flavor.get("resources") or []}


def _priority(namespace: Namespace, name: str) -> Finding:
    there, what = namespace.exists("workloadpriorityclasses", name), f"WorkloadPriorityClass {name}"
    if there is None:
        return _CLUSTER.warning(f"no permission to read {what}", f"check it with another account: kubectl get workloadpriorityclass {name}")
    if not there:
        return _CLUSTER.error(f"there is no {what}: Kueue admits no run", "create it, or correct kueue.priorityClass in the cluster file")
    return _CLUSTER.ok(f"{what} exists")
