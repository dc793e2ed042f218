"""The cluster that runs are Jobs of: who we are there, whether what a Job names is there, and what the server says of one."""

from collections.abc import Iterator, Mapping

from gregory.env import Environment
from gregory.launch.errors import BadClusterConfig, ClusterError, Refused
from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.diagnose.pod_status import Object
from gregory.launch.kubernetes.kube import Api
from gregory.launch.kubernetes.manifest import render_job
from gregory.launch.kubernetes.namespace import RIGHTS, Namespace
from gregory.launch.kubernetes.preconditions import KINDS, probe_spec, referenced_objects
from gregory.preflight.finding import Area, Finding

_CLUSTER = Area("cluster")
_CLAIMS = "persistentvolumeclaims"


def look_at_cluster(environment: Environment, *, inherited: Mapping[str, str]) -> Iterator[Finding]:
    """What keeps the next from being looked at ends it. inherited: the variables in which a pod finds its API server."""
    file = environment.GREGORY_CLUSTER_CONFIG
    if file is None:
        yield _without_file(environment.GREGORY_RUNNER)
        return
    try:
        config = load_cluster_config(file)
    except BadClusterConfig as error:
        yield _CLUSTER.error(str(error))
        return
    yield _CLUSTER.ok(f"{file} says how runs become Jobs")
    api = Api(kubeconfig=environment.KUBECONFIG, context=environment.GREGORY_KUBECONTEXT, inherited=inherited)
    try:
        yield from _look(Namespace(api, config.namespace), config)
    except ClusterError as error:
        yield _CLUSTER.error(str(error), "see who this process is on the cluster, and what lies between them")


def _without_file(runner: str) -> Finding:
    if runner == "kubernetes":
        return _CLUSTER.error("runs go to Kubernetes, and no cluster file is named", "name it in GREGORY_CLUSTER_CONFIG")
    return _CLUSTER.ok("no cluster file is named, and runs go elsewhere")


def _look(namespace: Namespace, config: ClusterConfig) -> Iterator[Finding]:
    there = namespace.is_there()
    if there is False:
        yield _CLUSTER.error(f"there is no namespace {namespace.name}", "create it, or correct namespace in the cluster file")
        return
    yield _CLUSTER.ok(f"the API server answers for namespace {namespace.name}" if there else "the API server answers")
    yield _rights(namespace)
    for resource, name, key in referenced_objects(config):
        yield _claim(namespace, name, key) if resource == _CLAIMS else _object(namespace, resource, name, key)
    yield _dry_run(namespace, config)
    yield _gpu(namespace, config)


def _rights(namespace: Namespace) -> Finding:
    missing = [f"{verb} {resource}" for verb, resource in RIGHTS if not namespace.can_i(verb, resource)]
    if missing:
        return _CLUSTER.error(
            f"this account may not {', '.join(missing)} in namespace {namespace.name}", "give it the Role of k8s/role.yaml"
        )
    return _CLUSTER.ok("this account may make Jobs, see them and end them")


def _object(namespace: Namespace, resource: str, name: str, key: str) -> Finding:
    there, what = namespace.exists(resource, name), f"{KINDS[resource]} {name}"
    if there is None:
        return _CLUSTER.warning(
            f"whether there is a {what} is not for this account to see", f"look yourself: kubectl get {resource} {name}"
        )
    if not there:
        return _CLUSTER.error(f"there is no {what}", f"create it, or correct {key} in the cluster file")
    return _CLUSTER.ok(f"{what} is there")


def _claim(namespace: Namespace, name: str, key: str) -> Finding:
    phase, what = namespace.claim_phase(name), f"{KINDS[_CLAIMS]} {name}"
    match phase:
        case None:
            return _CLUSTER.warning(f"whether there is a {what} is not for this account to see", f"look yourself: kubectl get pvc {name}")
        case "":
            return _CLUSTER.error(f"there is no {what}", f"create it, or correct {key} in the cluster file")
        case "Bound":
            return _CLUSTER.ok(f"{what} is bound")
        case "Pending":
            return _CLUSTER.warning(
                f"{what} is not bound yet", f"kubectl describe pvc {name} says why; some storage waits for the first pod"
            )
    return _CLUSTER.error(f"{what} is {phase}: its volume is gone", "restore the volume, or make another claim")


def _dry_run(namespace: Namespace, config: ClusterConfig) -> Finding:
    job = render_job(probe_spec(), config, cluster_id=namespace.cluster_ids()[0])
    try:
        namespace.create_job(job, dry_run=True)
    except Refused as error:
        return _CLUSTER.error(f"the server would refuse every Job: {error}", "correct the cluster file, or what the message names")
    return _CLUSTER.ok("the server would take a Job")


def _gpu(namespace: Namespace, config: ClusterConfig) -> Finding:
    gpu = config.gpu
    if not gpu.count:
        return _CLUSTER.ok("runs get no GPU")
    nodes = namespace.nodes(config.node_selector)
    if nodes is None:
        return _CLUSTER.warning(
            f"whether a node offers {gpu.resource} is not for this account to see", "look yourself: kubectl describe nodes"
        )
    offering = sum(_offered(node, gpu.resource) >= gpu.count for node in nodes)
    labelled = f" with the labels of nodeSelector, of which there are {len(nodes)}," if config.node_selector else ""
    if not offering:
        return _CLUSTER.error(
            f"no node{labelled} offers {gpu.count} {gpu.resource}",
            "add one, install the device plugin, or correct gpu and nodeSelector in the cluster file",
        )
    return _CLUSTER.ok(f"nodes that offer {gpu.count} {gpu.resource}: {offering}")


def _offered(node: Object, resource: str) -> int:
    return int(node["status"].get("allocatable", {}).get(resource, 0))
