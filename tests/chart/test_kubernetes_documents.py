"""Runs the commands of docs/kubernetes.md on a cluster from top to bottom, with Helm and without.

Scripts `helm` and `kubectl` on the PATH and an adapted values.yaml add the differences from a reader's cluster: images of
the node, small runs, and a volume of this machine.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gregory.launch.kubernetes.pod_patch import merged
from tests.chart.release import values
from tests.docs.markdown import KUBERNETES, Block, blocks
from tests.docs.reader import Reader
from tests.kubernetes.production import USER, environment
from tools import postgresql
from tools.chart import helm, plain
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace
from tools.installation import Installation, create_migrated

pytestmark = pytest.mark.slow

DOCUMENT, PLAIN = "docs/kubernetes.md", "Without Helm"
GOLDEN = Path(__file__).parent / "golden" / "can-i-submitter.txt"


class ClusterReader(Reader):
    """A reader with a cluster. Its values name images of the node."""

    def _content(self, block: Block) -> str:
        if block.name == "values.yaml":
            ours = {key: value for key, value in values(helm.NAMESPACE, port=0).items() if key not in ("cronJobs", "pages")}
            schedule = {"name": "weekly", "schedule": "0 3 * * 0", "args": ["--all-teams", "--algo", "lgbm_tfidf"]}
            return json.dumps(merged(yaml.safe_load(block.text), ours | {"cronJobs": [schedule]}))
        return super()._content(block)


@pytest.fixture(scope="module")
def helm_3(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Helm 3: the tests of a release have Helm 4."""
    folder = tmp_path_factory.mktemp("programs")
    with helm.using(helm.VERSIONS[1]):
        built = helm.build()
    for name, program in (("helm", built), ("kubectl", cluster.programs / "kubectl")):
        variables = f"KUBECONFIG={cluster.kubeconfig} KUBECACHEDIR={folder} HELM_CACHE_HOME={folder} HELM_CONFIG_HOME={folder}"
        (folder / name).write_text(f'#!/bin/sh\n{variables} exec {program} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def reader(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, helm_3: Path, tmp_path: Path
) -> Iterator[ClusterReader]:
    """A reader with a database that has articles and that pods can reach."""
    cluster_namespace = ClusterNamespace(cluster=cluster, namespace=helm.NAMESPACE, folder=tmp_path)
    create_migrated(cluster_postgresql, tmp_path.name)
    installation = Installation(tmp_path / "installation", environment=environment(cluster_namespace, cluster_postgresql, tmp_path.name))
    installation.must("load_demo")
    os.chown(installation.models, USER, USER)
    volume = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": helm.NAMESPACE,
        "capacity": {"storage": "50Gi"},
        "hostPath": {"path": str(installation.models)},
    }
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": helm.NAMESPACE}, "spec": volume})
    reader = ClusterReader(installation, tmp_path / "reader", programs=helm_3)
    reader.environment |= {"DB_HOST": cluster.host}
    file = [f"{name}={value}\n" for name, value in reader.environment.items() if name.startswith(("POSTGRES_", "DB_"))]
    (reader.checkout.parent / "gregory.env").write_text("".join(file))
    yield reader
    cluster.must("delete", "namespace", helm.NAMESPACE)
    cluster.must("delete", "persistentvolume", helm.NAMESPACE)
    ours = f"app.kubernetes.io/instance={helm.RELEASE}"
    cluster.must("delete", "role,rolebinding", "--namespace", "kube-system", "--selector", ours)


def blocks_of(document: str, section: str) -> list[Block]:
    return [block for block in blocks(document) if block.section == section]


def test_document_contains_the_commands_of_the_readme():
    shown = [line for block in blocks_of("README.md", KUBERNETES) for line in block.text.splitlines()]

    assert shown
    assert [line for line in shown if line not in {line for block in blocks(DOCUMENT) for line in block.text.splitlines()}] == []


def test_document_works_from_top_to_bottom(reader: ClusterReader):
    printed = "".join(reader.follow([block for block in blocks(DOCUMENT) if block.section != PLAIN]).values())

    assert "Phase:          Succeeded" in printed
    assert re.search(r"^neurology/migraine-prevention: run [0-9a-f]+ submitted", printed, re.MULTILINE)


def test_plain_manifests_are_accepted_and_give_the_expected_rights(cluster: Cluster, reader: ClusterReader):
    """Without pods, because no registry has their images."""
    nobody = {"metadata": {"name": "none", "namespace": helm.NAMESPACE}, "spec": {"hard": {"pods": "0"}}}
    cluster.apply(plain.namespace(), {"apiVersion": "v1", "kind": "ResourceQuota", **nobody})
    (block,) = blocks_of(DOCUMENT, PLAIN)

    printed = reader.follow([block])[block.line]

    for one in plain.objects():
        assert f"/{one['metadata']['name']} created" in printed
    again = cluster.kubectl("apply", "--dry-run=server", "--kustomize", str(plain.FOLDER))
    assert (again.returncode, "would violate PodSecurity" in again.stderr) == (0, False), again.stderr
    for example in plain.EXAMPLES:
        cluster.must("apply", "--dry-run=server", "--filename", str(plain.FOLDER / example))
    of_everyone = rights(cluster, "nobody")
    assert rights(cluster, f"{helm.RELEASE}-submitter") - of_everyone == set(GOLDEN.read_text(encoding="utf-8").splitlines())
    assert rights(cluster, f"{helm.RELEASE}-trainer") == of_everyone


def rights(cluster: Cluster, account: str) -> set[str]:
    """Lines of resources, URLs, names and verbs. Each version of Kubernetes gives every account further ones."""
    identity = f"system:serviceaccount:{helm.NAMESPACE}:{account}"
    listed = cluster.must("auth", "can-i", "--list", "--namespace", helm.NAMESPACE, "--as", identity)
    return {" ".join(line.split()) for line in listed.splitlines()[1:]}
