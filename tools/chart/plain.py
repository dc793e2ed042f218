"""k8s/: the objects of the chart's default values as plain manifests, and an example Job of a run.

They lack the labels, annotations and hooks of Helm. They contain the namespace, which Helm does not create.
"""

from typing import Any

import yaml

from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.manifest import render_job
from tools import golden_jobs as golden
from tools.chart.helm import NAMESPACE, template
from tools.installation import REPOSITORY

FOLDER = REPOSITORY / "k8s"
HOOK = "helm.sh/hook"
EXAMPLES = ("job.example.yaml", "secret.example.yaml")
# File -> its objects. A user can apply the files in this order.
FILES = {
    "ServiceAccount": "service-accounts.yaml",
    "Role": "role.yaml",
    "RoleBinding": "role.yaml",
    "PersistentVolumeClaim": "models.yaml",
    "ConfigMap": "cluster.yaml",
    "NetworkPolicy": "network-policies.yaml",
    "CronJob": "cronjob.yaml",
    "Deployment": "reconciler.yaml",
}
_MADE = "# Made from helm/gregory-train by `make chart`.\n"


def generated() -> dict[str, str]:
    """Every file with its content."""
    files: dict[str, list[dict[str, Any]]] = {"namespace.yaml": [namespace()]}
    for one in objects():
        files.setdefault(FILES[one["kind"]], []).append(one)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["namespace.yaml", *dict.fromkeys(FILES.values())],
    }
    files |= {"kustomization.yaml": [kustomization], "job.example.yaml": [example_job()], "secret.example.yaml": [example_secret()]}
    return {name: _MADE + "---\n".join(_as_yaml(one) for one in some) for name, some in files.items()}


def objects() -> list[dict[str, Any]]:
    """The objects of the chart, as a user without Helm writes them."""
    made = [_without_helm(one) for one in template() if HOOK not in one["metadata"].get("annotations", {})]
    return sorted(made, key=lambda one: [*FILES].index(one["kind"]))


def namespace() -> dict[str, Any]:
    """The namespace. Every pod of the project passes its level, the strictest."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": levels}}


def example_secret() -> dict[str, Any]:
    """The Secret, with placeholders for credentials."""
    config = cluster_config().database
    values = {config.host_key: "postgres.example.org", config.name_key: "gregory", config.user_key: "gregory_train"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": config.existing_secret, "namespace": NAMESPACE},
        "stringData": {**values, config.password_key: "change-me"},
    }


def example_job() -> dict[str, Any]:
    """The Job that the submitter creates for a run."""
    spec = golden.SPEC.model_copy(update={"attempt": 1})
    return render_job(spec, cluster_config(), cluster_id=golden.CLUSTER_ID)


def cluster_config() -> ClusterConfig:
    """The cluster file in the ConfigMap."""
    (config,) = [one["data"]["cluster.yaml"] for one in objects() if one["kind"] == "ConfigMap"]
    return ClusterConfig.model_validate(yaml.safe_load(config))


def _without_helm(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_helm(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_helm(one) for key, one in value.items() if not key.startswith("helm.sh/") and one != "Helm"}
    if not kept.get("annotations", True):
        del kept["annotations"]
    return kept


class _Dumper(yaml.SafeDumper):
    """Write texts of several lines as blocks."""


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)
)


def _as_yaml(one: dict[str, Any]) -> str:
    return yaml.dump(one, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
