"""Checks of a cluster before any row is written, within the permissions of this account."""

from collections.abc import Iterator, Mapping
from typing import Any

from gregory.launch.errors import ClusterError, PreconditionFailed, Refused
from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.namespace import Namespace

KINDS = {
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "serviceaccounts": "ServiceAccount",
}


def require_cluster(namespace: Namespace, config: ClusterConfig, job: Mapping[str, Any]) -> None:
    """Raise PreconditionFailed for the first cause that would make every run of a kind fail. `job` is the Job of `probe_spec`."""
    try:
        for resource, name, key in referenced_objects(config):
            if namespace.exists(resource, name) is False:
                kind = KINDS[resource]
                raise PreconditionFailed(
                    f"there is no {kind} {name} in namespace {config.namespace}; create it, or correct {key} in the cluster file"
                )
        namespace.create_job(job, dry_run=True)
    except Refused as error:
        raise PreconditionFailed(
            f"the cluster would refuse every Job: {error}; correct the cluster file, or the object that the message names"
        ) from error
    except ClusterError as error:
        raise PreconditionFailed(str(error)) from error


def referenced_objects(config: ClusterConfig) -> Iterator[tuple[str, str, str]]:
    """The objects that every Job refers to: resource, name, and the key of the cluster file with the name."""
    yield "persistentvolumeclaims", config.volumes.models.claim_name, "volumes.models.claimName"
    if config.volumes.base_models.claim_name:
        yield "persistentvolumeclaims", config.volumes.base_models.claim_name, "volumes.baseModels.claimName"
    yield "serviceaccounts", config.service_account_name, "serviceAccountName"
    database = config.database
    of_predictions = database.existing_secret == database.prediction.existing_secret
    yield "secrets", database.existing_secret, "database.prediction.existingSecret" if of_predictions else "database.existingSecret"
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
