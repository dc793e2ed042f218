"""Actions on the pods and Jobs of a run, and changes of the cluster file."""

import json
from typing import Any

from tools.cluster.namespace import ClusterNamespace


def pod_patch(**spec: Any) -> dict[str, Any]:
    """Cluster file: these keys of the pod's specification."""
    return {"podTemplatePatch": {"spec": spec}}


def container_patch(**container: Any) -> dict[str, Any]:
    """Cluster file: these keys of the run's container."""
    return pod_patch(containers=[{"name": "run", **container}])


def mounted_claim(claim: str) -> dict[str, Any]:
    """Cluster file: one more volume, from this claim."""
    return _mounted({"persistentVolumeClaim": {"claimName": claim}})


def mounted_config_map(name: str) -> dict[str, Any]:
    """Cluster file: one more volume, from this ConfigMap."""
    return _mounted({"configMap": {"name": name}})


def claimed_device(template: str) -> dict[str, Any]:
    """Cluster file: a device by a claim from this template, which the submitter does not check."""
    container = {"name": "run", "resources": {"claims": [{"name": "gpu"}]}}
    return pod_patch(resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": template}], containers=[container])


def limits(**values: str) -> dict[str, Any]:
    """Cluster file: these limits of the container."""
    return {"resources": {"limits": values}}


def evict_pod(cluster_namespace: ClusterNamespace, pod: str) -> None:
    """Through the Eviction API, as `kubectl drain` does."""
    namespace = cluster_namespace.namespace
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    cluster_namespace.cluster.must("create", "--raw", path, "-f", "-", input=json.dumps(eviction))


def set_suspended(cluster_namespace: ClusterNamespace, job: str, *, suspended: bool) -> None:
    """As a queue does."""
    patch = json.dumps({"spec": {"suspend": suspended}})
    cluster_namespace.kubectl("patch", "job", job, "--type=merge", "-p", patch)


def release_pod(cluster_namespace: ClusterNamespace, pod: str) -> None:
    """Remove the finalizers of a pod, so that the API server can delete it."""
    cluster_namespace.kubectl("patch", "pod", pod, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def _mounted(source: dict[str, Any]) -> dict[str, Any]:
    container = {"name": "run", "volumeMounts": [{"name": "none", "mountPath": "/none"}]}
    return pod_patch(volumes=[{"name": "none", **source}], containers=[container])
