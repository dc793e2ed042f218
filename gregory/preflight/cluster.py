"""Checks of the cluster: the permissions of this account, the objects that a Job refers to, and a Job in a dry run."""

from collections.abc import Iterator, Mapping
from typing import Any

from gregory.env import Environment
from gregory.launch.errors import BadClusterConfig, ClusterError, Refused
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.gpu_claim import claim_template
from gregory.launch.kubernetes.kube import Api
from gregory.launch.kubernetes.manifest import render_job
from gregory.launch.kubernetes.namespace import RIGHTS, Namespace
from gregory.launch.kubernetes.preconditions import KINDS, NO_CLAIMS, lacks_claims, referenced_objects, refusal_of_every_job
from gregory.launch.preconditions import probe_spec
from gregory.preflight.finding import Area, Finding
from gregory.preflight.gpu import check_gpu
from gregory.preflight.kueue import check_kueue

_CLUSTER = Area("cluster")
_CLAIMS = "persistentvolumeclaims"


def check_cluster(environment: Environment, *, inherited: Mapping[str, str]) -> Iterator[Finding]:
    """Findings until an error that prevents further checks. `inherited` contains the variables that name the API server to a pod."""
    file = environment.GREGORY_CLUSTER_CONFIG
    if file is None:
        yield _without_file(environment.GREGORY_RUNNER)
        return
    try:
        config = load_cluster_config(file)
    except BadClusterConfig as error:
        yield _CLUSTER.error(str(error))
        return
    yield _CLUSTER.ok(f"{file} is a valid cluster file")
    api = Api(kubeconfig=environment.KUBECONFIG, context=environment.GREGORY_KUBECONTEXT, inherited=inherited)
    try:
        yield from _check(Namespace(api, config.namespace), config)
    except ClusterError as error:
        yield _CLUSTER.error(str(error), "check the account of this process and the network between it and the cluster")


def _without_file(runner: str) -> Finding:
    if runner == "kubernetes":
        return _CLUSTER.error("the runner is kubernetes, and there is no cluster file", "name one in GREGORY_CLUSTER_CONFIG")
    return _CLUSTER.ok(f"the runner {runner} needs no cluster file")


def _check(namespace: Namespace, config: ClusterConfig) -> Iterator[Finding]:
    there = namespace.is_there()
    if there is False:
        yield _CLUSTER.error(f"there is no namespace {namespace.name}", "create it, or correct namespace in the cluster file")
        return
    yield _CLUSTER.ok(f"the API server answers for namespace {namespace.name}" if there else "the API server answers")
    yield _permissions(namespace, config)
    if lacks_claims(namespace, config):
        yield _CLUSTER.error(*NO_CLAIMS)
        return
    for resource, name, key in referenced_objects(config):
        yield _claim(namespace, name, key) if resource == _CLAIMS else _object(namespace, resource, name, key)
    job = render_job(probe_spec(), config, cluster_id=namespace.cluster_ids()[0])
    yield _dry_run(namespace, job, claim_template(config))
    yield from check_kueue(namespace, config, job)
    yield check_gpu(namespace, config)


def _permissions(namespace: Namespace, config: ClusterConfig) -> Finding:
    for_claims = (("create", "resourceclaimtemplates"),) if claim_template(config) else ()
    missing = [f"{verb} {resource}" for verb, resource in (*RIGHTS, *for_claims) if not namespace.can_i(verb, resource)]
    if missing:
        return _CLUSTER.error(
            f"this account has no permission to {', '.join(missing)} in namespace {namespace.name}", "give it the Role of k8s/role.yaml"
        )
    return _CLUSTER.ok("this account may create, read and delete Jobs")


def _object(namespace: Namespace, resource: str, name: str, key: str) -> Finding:
    there, what = namespace.exists(resource, name), f"{KINDS[resource]} {name}"
    if there is None:
        return _CLUSTER.warning(f"no permission to read {what}", f"check it with another account: kubectl get {resource} {name}")
    if not there:
        return _CLUSTER.error(f"there is no {what}", f"create it, or correct {key} in the cluster file")
    return _CLUSTER.ok(f"{what} exists")


def _claim(namespace: Namespace, name: str, key: str) -> Finding:
    phase, what = namespace.claim_phase(name), f"{KINDS[_CLAIMS]} {name}"
    match phase:
        case None:
            return _CLUSTER.warning(f"no permission to read {what}", f"check it with another account: kubectl get pvc {name}")
        case "":
            return _CLUSTER.error(f"there is no {what}", f"create it, or correct {key} in the cluster file")
        case "Bound":
            return _CLUSTER.ok(f"{what} is bound")
        case "Pending":
            return _CLUSTER.warning(
                f"{what} is not bound yet", f"read the cause with kubectl describe pvc {name}; some storage classes wait for the first pod"
            )
    return _CLUSTER.error(f"{what} is {phase}: its volume does not exist", "restore the volume, or create another claim")


def _dry_run(namespace: Namespace, job: Mapping[str, Any], template: Mapping[str, Any] | None) -> Finding:
    try:
        if template is not None:
            namespace.create_claim_template(template, dry_run=True)
        namespace.create_job(job, dry_run=True)
    except Refused as error:
        return _CLUSTER.error(*refusal_of_every_job(error))
    return _CLUSTER.ok("the server accepts the Job of a run")
