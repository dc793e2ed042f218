"""What preflight says of a real cluster: who we are there, what a Job names, what the server and the nodes say."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gregory.launch.kubernetes.namespace import RIGHTS
from gregory.preflight.cluster import look_at_cluster
from gregory.preflight.finding import CheckResult, Finding
from tools.cluster.namespace import ClusterNamespace

pytestmark = pytest.mark.slow


@pytest.fixture
def look(cluster_namespace: ClusterNamespace) -> Callable[..., list[Finding]]:
    def look(**variables: str) -> list[Finding]:
        installation = cluster_namespace.installation(**variables)
        return list(look_at_cluster(installation.environment, inherited=installation.inherited))

    return look


def wrong(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.verdict is not CheckResult.OK]


def test_a_furnished_namespace_is_ready(cluster_namespace: ClusterNamespace, look: Callable[..., list[Finding]]):
    cluster_namespace.config["gpu"] = {"count": 1}

    assert [str(finding) for finding in look()] == [
        f"OK      cluster     {cluster_namespace.folder}/cluster.yaml says how runs become Jobs",
        f"OK      cluster     the API server answers for namespace {cluster_namespace.namespace}",
        "OK      cluster     this account may make Jobs, see them and end them",
        "OK      cluster     PersistentVolumeClaim models is bound",
        "OK      cluster     ServiceAccount gregory-trainer is there",
        "OK      cluster     Secret database is there",
        "OK      cluster     the server would take a Job",
        "OK      cluster     nodes that offer 1 nvidia.com/gpu: 1",
    ]


def test_what_is_missing_is_named_with_its_key(cluster_namespace: ClusterNamespace, look: Callable[..., list[Finding]]):
    cluster_namespace.kubectl("delete", "serviceaccount", "gregory-trainer")
    cluster_namespace.config |= {
        "volumes": {"models": {"claimName": "nowhere"}},
        "gpu": {"resource": "nvidia.com/mig-3g.20gb"},
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
    }

    found = wrong(look())

    (refused,) = [line for line in found if "the server would refuse" in line]
    assert "must be less than or equal to memory limit" in refused
    assert [line for line in found if line != refused] == [
        "ERROR   cluster     there is no PersistentVolumeClaim nowhere; create it, or correct volumes.models.claimName in the cluster file",
        "ERROR   cluster     there is no ServiceAccount gregory-trainer; create it, or correct serviceAccountName in the cluster file",
        "ERROR   cluster     there is no ConfigMap settings; create it, or correct envFrom in the cluster file",
        "ERROR   cluster     no node offers 1 nvidia.com/mig-3g.20gb; add one, install the device plugin, "
        "or correct gpu and nodeSelector in the cluster file",
    ]


def test_nodes_are_those_that_runs_may_use(cluster_namespace: ClusterNamespace, look: Callable[..., list[Finding]]):
    cluster_namespace.config |= {"gpu": {"count": 1}, "nodeSelector": {"pool": "gpu"}}

    (line,) = wrong(look())

    assert "no node with the labels of nodeSelector, of which there are 0, offers 1 nvidia.com/gpu" in line


def test_a_claim_without_a_volume_is_a_warning(cluster_namespace: ClusterNamespace, look: Callable[..., list[Finding]]):
    unbound: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "unbound", "namespace": cluster_namespace.namespace}
    cluster_namespace.cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": unbound})
    cluster_namespace.config["volumes"] = {"models": {"claimName": "unbound"}}

    (line,) = wrong(look())

    assert line.startswith("WARNING cluster     PersistentVolumeClaim unbound is not bound yet; kubectl describe pvc unbound says why")


def test_an_account_without_rights_is_told_which(cluster_namespace: ClusterNamespace, look: Callable[..., list[Finding]]):
    kubeconfig = cluster_namespace.folder / "trainer.kubeconfig"
    token = cluster_namespace.kubectl("create", "token", "gregory-trainer").strip()
    config = json.loads(cluster_namespace.cluster.must("config", "view", "--raw", "--output=json"))
    (user,) = config["users"]
    kubeconfig.write_text(json.dumps(config | {"users": [{"name": user["name"], "user": {"token": token}}]}))

    found = wrong(look(KUBECONFIG=str(kubeconfig)))

    missing = ", ".join(f"{verb} {resource}" for verb, resource in RIGHTS)
    assert found[0] == (
        f"ERROR   cluster     this account may not {missing} in namespace {cluster_namespace.namespace}; give it the Role of k8s/role.yaml"
    )
    assert found[1].startswith("WARNING cluster     whether there is a PersistentVolumeClaim models is not for this account to see")
    assert found[-1].startswith("ERROR   cluster     namespaces ")


def test_what_keeps_the_rest_from_being_looked_at_ends_it(cluster_namespace: ClusterNamespace, look: Callable[..., list[Finding]]):
    cluster_namespace.config["namespace"] = "nowhere"
    assert wrong(look()) == ["ERROR   cluster     there is no namespace nowhere; create it, or correct namespace in the cluster file"]

    cluster_namespace.config["gpus"] = 1
    (line,) = wrong(look())
    assert "gpus" in line
