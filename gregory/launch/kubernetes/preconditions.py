"""Checks of a cluster before any row is written, within the permissions of this account."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from gregory.launch.errors import ClusterError, PreconditionFailed, Refused
from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.gpu_claim import API, claim_template
from gregory.launch.kubernetes.namespace import WITHOUT_NAMESPACE, Namespace

KINDS = {
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "serviceaccounts": "ServiceAccount",
    "deviceclasses": "DeviceClass",
    "resourceclaimtemplates": "ResourceClaimTemplate",
}
# Cause and remedy of a cluster without the API of claims: it knows no DeviceClass, and its pods lose their claims.
NO_CLAIMS = (
    f"gpu.claim needs the API {API}, which this cluster does not have",
    "use Kubernetes 1.34 or later, or remove gpu.claim from the cluster file",
)


def require_cluster(namespace: Namespace, config: ClusterConfig, job: Mapping[str, Any]) -> None:
    """Raise PreconditionFailed for the first cause that would make every run of a kind fail. `job` is the Job of `probe_spec`."""
    try:
        if lacks_claims(namespace, config):
            raise PreconditionFailed("; ".join(NO_CLAIMS))
        for resource, name, key in referenced_objects(config):
            if namespace.exists(resource, name) is False:
                where = "" if resource in WITHOUT_NAMESPACE else f" in namespace {config.namespace}"
                raise PreconditionFailed(f"there is no {KINDS[resource]} {name}{where}; create it, or correct {key} in the cluster file")
        if (template := claim_template(config)) is not None:
            namespace.create_claim_template(template, dry_run=True)
        namespace.create_job(job, dry_run=True)
    except Refused as error:
        raise PreconditionFailed("; ".join(refusal_of_every_job(error))) from error
    except ClusterError as error:
        raise PreconditionFailed(str(error)) from error


def lacks_claims(namespace: Namespace, config: ClusterConfig) -> bool:
    """Whether the cluster file has a claim, and the cluster has no API for it."""
    return config.gpu.claim is not None and namespace.allocates_devices() is False


def refusal_of_every_job(error: Refused) -> tuple[str, str]:
    """The cause and the remedy of a refused dry run."""
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"the cluster accepts no Job now: {error}", "repair the webhook or server that the message names, then repeat the command"
    return f"the cluster would refuse every Job: {error}", "correct the cluster file, or the object that the message names"


def referenced_objects(config: ClusterConfig) -> Iterator[tuple[str, str, str]]:
    """The objects that every Job refers to: resource, name, and the key of the cluster file with the name."""
    yield "persistentvolumeclaims", config.volumes.models.claim_name, "volumes.models.claimName"
    if config.volumes.base_models.claim_name:
        yield "persistentvolumeclaims", config.volumes.base_models.claim_name, "volumes.baseModels.claimName"
    yield "serviceaccounts", config.service_account_name, "serviceAccountName"
    if (claim := config.gpu.claim) is not None and claim.device_class_name:
        yield "deviceclasses", claim.device_class_name, "gpu.claim.deviceClassName"
    if claim is not None and claim.template_name:
        yield "resourceclaimtemplates", claim.template_name, "gpu.claim.templateName"
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
