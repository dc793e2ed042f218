"""The claim of a run's pod for its GPUs, and the ResourceClaimTemplate of a DeviceClass. Pure.

Kubernetes makes a claim for each pod from the template, and removes it with the pod.
"""

import json
from hashlib import sha256
from typing import Any

from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.cluster_gpu import GpuClaim
from gregory.launch.kubernetes.labels import APP, MANAGED_BY, NAME
from gregory.launch.kubernetes.volumes import drop_empty

API = "resource.k8s.io/v1"
# The claim in the pod, and the request in its template.
GPU = "gpu"


def claims_of_pod(config: ClusterConfig) -> list[dict[str, str]]:
    """`resourceClaims` of the pod. Empty without a claim."""
    claim = config.gpu.claim
    if claim is None:
        return []
    return [{"name": GPU, "resourceClaimTemplateName": claim.template_name or _name_of(_spec(claim, config.gpu.count))}]


def claims_of_container(config: ClusterConfig) -> dict[str, Any]:
    """The part of the container's resources that names the claim. Empty without a claim."""
    return {"claims": [{"name": GPU}]} if config.gpu.claim else {}


def claim_template(config: ClusterConfig) -> dict[str, Any] | None:
    """The template that a submitter creates before the Job. None if the cluster file names one, or has no claim."""
    claim = config.gpu.claim
    if claim is None or claim.template_name:
        return None
    spec = _spec(claim, config.gpu.count)
    metadata = {"name": _name_of(spec), "namespace": config.namespace, "labels": {NAME: APP, MANAGED_BY: APP}}
    return {"apiVersion": API, "kind": "ResourceClaimTemplate", "metadata": metadata, "spec": spec}


def _spec(claim: GpuClaim, count: int) -> dict[str, Any]:
    selectors = [{"cel": {"expression": expression}} for expression in claim.selectors]
    exactly = {"deviceClassName": claim.device_class_name, "selectors": selectors, "count": count}
    return {"spec": {"devices": {"requests": [{"name": GPU, "exactly": drop_empty(exactly)}]}}}


def _name_of(spec: dict[str, Any]) -> str:
    # A template cannot be changed, and Jobs of an earlier cluster file may still need theirs. So each content has a name of its own.
    return f"{APP}-gpu-{sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:12]}"
