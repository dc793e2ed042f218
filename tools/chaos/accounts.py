"""The account of the commands and reconcilers: the ServiceAccount and the Role of k8s/, in the namespace of the chaos runs.

No command of the product has an administrator's rights.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from tools.cluster.cluster import Cluster
from tools.cluster.network import API, SERVICE
from tools.installation import REPOSITORY

ACCOUNT = "gregory-train-submitter"
# Names in k8s/, and those of `ClusterNamespace`.
_NAMES = {"gregory-train-models": "models", "gregory-train-trainer": "gregory-trainer", "gregory-database": "database"}
_FILES = ("service-accounts.yaml", "role.yaml")
_HOURS = "12h"
# The Role that reads the id of the cluster is outside the namespace.
_OUTSIDE = ("--namespace", "kube-system", "--selector", "app.kubernetes.io/instance=gregory-train")


def create(cluster: Cluster, namespace: str, folder: Path) -> tuple[Path, Path]:
    """Create the account. Returns two kubeconfigs: for processes of this machine, and for those in the network of the pods."""
    documents = [document for name in _FILES for document in yaml.safe_load_all((REPOSITORY / "k8s" / name).read_text(encoding="utf-8"))]
    cluster.apply(*(adapted(document, namespace) for document in documents))
    token = cluster.must("create", "token", ACCOUNT, "--namespace", namespace, f"--duration={_HOURS}").strip()
    authority = cluster.folder / "pki" / "ca.crt"
    files = []
    for name, server in (("outside", API), ("inside", f"https://{SERVICE}")):
        file = folder / f"{name}.kubeconfig"
        file.write_text(json.dumps(_kubeconfig(server, authority, token)))
        files.append(file)
    outside, inside = files
    return outside, inside


def remove(cluster: Cluster) -> None:
    """Delete the objects of the account that do not end with its namespace."""
    cluster.must("delete", "role,rolebinding", *_OUTSIDE)


def adapted(value: Any, namespace: str) -> Any:
    """A document of k8s/ with the names of this namespace. Labels keep their values."""
    names = {**_NAMES, "gregory-train": namespace}
    if isinstance(value, dict):
        return {key: inner if key == "labels" else adapted(inner, namespace) for key, inner in value.items()}
    if isinstance(value, list):
        return [adapted(inner, namespace) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def _kubeconfig(server: str, authority: Path, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "gregory", "cluster": {"server": server, "certificate-authority": str(authority)}}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": "chaos", "context": {"cluster": "gregory", "user": ACCOUNT}}],
        "current-context": "chaos",
    }
