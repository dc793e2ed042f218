"""Preflight on a real cluster: rights, objects that a Job names, the answer of the API server, and the nodes."""

from collections.abc import Callable
from typing import Any

import pytest

from gregory.launch.errors import PreconditionFailed
from gregory.launch.kubernetes.namespace import RIGHTS
from gregory.preflight.cluster import check_cluster
from gregory.preflight.finding import CheckResult, Finding
from tools.cluster import devices
from tools.cluster.namespace import ClusterNamespace

pytestmark = pytest.mark.slow


@pytest.fixture
def check(job_namespace: ClusterNamespace) -> Callable[..., list[Finding]]:
    def check(**variables: str) -> list[Finding]:
        installation = job_namespace.installation(**variables)
        return list(check_cluster(installation.environment, inherited=installation.inherited))

    return check


def wrong(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.result is not CheckResult.OK]


def test_complete_namespace_is_ready(job_namespace: ClusterNamespace, check: Callable[..., list[Finding]]):
    job_namespace.config["gpu"] = {"count": 1}

    assert [str(finding) for finding in check()] == [
        f"OK      cluster     {job_namespace.folder}/cluster.yaml is a valid cluster file",
        f"OK      cluster     the API server answers for namespace {job_namespace.namespace}",
        "OK      cluster     this account may create, read and delete Jobs",
        "OK      cluster     PersistentVolumeClaim models is bound",
        "OK      cluster     ServiceAccount gregory-trainer exists",
        "OK      cluster     Secret database exists",
        "OK      cluster     the server accepts the Job of a run",
        "OK      cluster     nodes that offer 1 nvidia.com/gpu: 1",
    ]


def test_missing_objects_are_named_with_their_keys(job_namespace: ClusterNamespace, check: Callable[..., list[Finding]]):
    job_namespace.config |= {
        "serviceAccountName": "missing",
        "volumes": {"models": {"claimName": "nowhere"}},
        "gpu": {"resource": "nvidia.com/mig-3g.20gb"},
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
    }

    found = wrong(check())

    (refused,) = [line for line in found if "the cluster would refuse" in line]
    assert "must be less than or equal to memory limit" in refused
    assert [line for line in found if line != refused] == [
        "ERROR   cluster     there is no PersistentVolumeClaim nowhere; create it, or correct volumes.models.claimName in the cluster file",
        "ERROR   cluster     there is no ServiceAccount missing; create it, or correct serviceAccountName in the cluster file",
        "ERROR   cluster     there is no ConfigMap settings; create it, or correct envFrom in the cluster file",
        "ERROR   cluster     no node offers 1 nvidia.com/mig-3g.20gb; add one, install the device plugin, "
        "or correct gpu and nodeSelector in the cluster file",
    ]


def test_a_claim_needs_its_class_and_the_api_of_devices(job_namespace: ClusterNamespace, check: Callable[..., list[Finding]]):
    job_namespace.config["gpu"] = {"claim": {"deviceClassName": "none.gregory.test"}}
    absent = "gpu.claim needs the API resource.k8s.io/v1, which this cluster does not have"

    found = wrong(check())

    if devices.are_allocated():
        assert "ERROR   cluster     there is no DeviceClass none.gregory.test; create it, or correct gpu.claim.deviceClassName" in found[0]
    else:
        assert found == [f"ERROR   cluster     {absent}; use Kubernetes 1.34 or later, or remove gpu.claim from the cluster file"]
        with pytest.raises(PreconditionFailed, match=f"^{absent}; "):
            job_namespace.runner().check([])


def test_only_nodes_with_the_labels_count(job_namespace: ClusterNamespace, check: Callable[..., list[Finding]]):
    job_namespace.config |= {"gpu": {"count": 1}, "nodeSelector": {"pool": "gpu"}}

    (line,) = wrong(check())

    assert "no node of the 0 with the labels of nodeSelector offers 1 nvidia.com/gpu" in line


def test_unbound_claim_is_a_warning(job_namespace: ClusterNamespace, check: Callable[..., list[Finding]]):
    unbound: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "unbound", "namespace": job_namespace.namespace}
    job_namespace.cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": unbound})
    job_namespace.config["volumes"] = {"models": {"claimName": "unbound"}}

    (line,) = wrong(check())

    assert line.startswith(
        "WARNING cluster     PersistentVolumeClaim unbound is not bound yet; read the cause with kubectl describe pvc unbound"
    )


def test_missing_rights_are_named(job_namespace: ClusterNamespace, check: Callable[..., list[Finding]]):
    found = wrong(check(KUBECONFIG=str(job_namespace.kubeconfig_of("gregory-trainer"))))

    missing = ", ".join(f"{verb} {resource}" for verb, resource in RIGHTS)
    assert found[0] == (
        f"ERROR   cluster     this account has no permission to {missing} "
        f"in namespace {job_namespace.namespace}; give it the Role of k8s/role.yaml"
    )
    assert found[1].startswith("WARNING cluster     no permission to read PersistentVolumeClaim models; ")
    assert found[-1].startswith("ERROR   cluster     namespaces ")


def test_missing_namespace_ends_the_check(job_namespace: ClusterNamespace, check: Callable[..., list[Finding]]):
    job_namespace.config["namespace"] = "nowhere"
    assert wrong(check()) == ["ERROR   cluster     there is no namespace nowhere; create it, or correct namespace in the cluster file"]

    job_namespace.config["gpus"] = 1
    (line,) = wrong(check())
    assert "gpus" in line
