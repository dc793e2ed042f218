"""What must hold on a cluster before any row is written, as far as this identity may see it."""

from collections.abc import Iterator, Mapping
from typing import Any

from gregory.launch.errors import ClusterError, PreconditionFailed, Refused
from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.namespace import Namespace
from gregory.ml.config import TrainConfig
from gregory.runs.spec import RunSpec, Scope, Window, new_run_id, new_token

KINDS = {
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "serviceaccounts": "ServiceAccount",
}


def require_cluster(namespace: Namespace, config: ClusterConfig, job: Mapping[str, Any]) -> None:
    """Raise NotReady for the first thing that would make every run fail. job: one such as would be made."""
    try:
        for resource, name, key in referenced_objects(config):
            if namespace.exists(resource, name) is False:
                what = f"{KINDS[resource]} {name} in namespace {config.namespace}"
                raise PreconditionFailed(f"there is no {what}; create it, or correct {key} in the cluster file")
        namespace.create_job(job, dry_run=True)
    except Refused as error:
        raise PreconditionFailed(
            f"the cluster would refuse every Job: {error}; correct the cluster file, or what the message names"
        ) from error
    except ClusterError as error:
        raise PreconditionFailed(str(error)) from error


def probe_spec() -> RunSpec:
    """A run such as any: what the server says of its Job it would say of every Job."""
    scope, window = Scope(id=0, slug="check"), Window(cutoff=None, description="none")
    return RunSpec(
        run_id=new_run_id(), attempt_token=new_token(), team=scope, subject=scope, algorithms=(), config=TrainConfig(), window=window
    )


def referenced_objects(config: ClusterConfig) -> Iterator[tuple[str, str, str]]:
    """What every Job names: resource, name, and the key of the cluster file that names it."""
    yield "persistentvolumeclaims", config.volumes.models.claim_name, "volumes.models.claimName"
    if config.volumes.base_models.claim_name:
        yield "persistentvolumeclaims", config.volumes.base_models.claim_name, "volumes.baseModels.claimName"
    yield "serviceaccounts", config.service_account_name, "serviceAccountName"
    yield "secrets", config.database.existing_secret, "database.existingSecret"
    for secret in config.image.pull_secrets:
        yield "secrets", secret, "image.pullSecrets"
    references = [reference for variable in config.env for reference in _both(variable.value_from, "_key_ref")]
    for resource, reference in references:
        if not reference.optional:
            yield resource, reference.name, "env"
    for resource, reference in [found for source in config.env_from for found in _both(source, "_ref")]:
        if not reference.optional:
            yield resource, reference.name, "envFrom"


def _both(source: Any, suffix: str) -> list[tuple[str, Any]]:
    found = [("secrets", getattr(source, f"secret{suffix}")), ("configmaps", getattr(source, f"config_map{suffix}"))]
    return [(resource, reference) for resource, reference in found if reference is not None]
