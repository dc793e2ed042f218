"""Checks of the GPUs of the cluster: nodes that offer a resource, or drivers that offer devices."""

from gregory.launch.kubernetes.cluster_config import ClusterConfig
from gregory.launch.kubernetes.diagnose.pod_status import Object
from gregory.launch.kubernetes.namespace import Namespace
from gregory.preflight.finding import Area, Finding

_CLUSTER = Area("cluster")
# Kubernetes gives each DeviceClass a resource of this name.
_OF_CLASS = "deviceclass.resource.kubernetes.io/"
# From this minor version on, Kubernetes serves resources of DeviceClasses by default.
_SERVES_RESOURCES = 36


def check_gpu(namespace: Namespace, config: ClusterConfig) -> Finding:
    """The finding for the GPUs of a run."""
    gpu = config.gpu
    if not gpu.count:
        return _CLUSTER.ok("runs get no GPU")
    if gpu.claim is None:
        return _resource(namespace, config)
    name = gpu.claim.device_class_name
    return _devices(namespace, gpu.count, by=f"DeviceClass {name}" if name else f"ResourceClaimTemplate {gpu.claim.template_name}")


def _resource(namespace: Namespace, config: ClusterConfig) -> Finding:
    gpu = config.gpu
    nodes = namespace.nodes(config.node_selector)
    if nodes is None:
        return _CLUSTER.warning(
            f"no permission to read nodes, which may offer {gpu.resource}", "check them with another account: kubectl describe nodes"
        )
    if offering := sum(_offered(node, gpu.resource) >= gpu.count for node in nodes):
        return _CLUSTER.ok(f"nodes that offer {gpu.count} {gpu.resource}: {offering}")
    classes = namespace.device_classes()
    serving = next((name for one in classes or () if gpu.resource in _resources_of(one) and (name := one["metadata"]["name"])), "")
    if serving:
        version = namespace.minor_version()
        if version is not None and version < _SERVES_RESOURCES:
            return _CLUSTER.warning(
                f"no node offers {gpu.resource}, and Kubernetes 1.{version} serves it from DeviceClass {serving} only with the "
                "feature gate DRAExtendedResource, which preflight cannot see",
                f"set gpu.claim.deviceClassName to {serving} in the cluster file, or ask the operator of the cluster for the feature gate",
            )
        return _devices(namespace, gpu.count, by=f"DeviceClass {serving}, which serves {gpu.resource},")
    labelled = f" of the {len(nodes)} with the labels of nodeSelector" if config.node_selector else ""
    without = f"no node{labelled} offers {gpu.count} {gpu.resource}"
    if classes is None:
        return _CLUSTER.warning(
            f"{without}, and no permission to list the DeviceClasses, which may serve it",
            "check them with another account: kubectl get deviceclasses --output yaml",
        )
    return _CLUSTER.error(without, "add one, install the device plugin, or correct gpu and nodeSelector in the cluster file")


def _resources_of(device_class: Object) -> tuple[str, ...]:
    return f"{_OF_CLASS}{device_class['metadata']['name']}", device_class.get("spec", {}).get("extendedResourceName", "")


def _devices(namespace: Namespace, count: int, *, by: str) -> Finding:
    """Only the scheduler compares devices with the conditions of a class or template."""
    slices = namespace.resource_slices()
    if slices is None:
        return _CLUSTER.warning(
            f"no permission to list ResourceSlices, from which {by} selects devices",
            "check them with another account: kubectl get resourceslices --output yaml",
        )
    offered = sum(len(one["spec"].get("devices") or ()) for one in slices)
    if offered < count:
        return _CLUSTER.error(
            f"the drivers offer {offered} devices in all ResourceSlices, and {by} selects {count} of them for a run",
            "install the DRA driver of the GPU, or correct gpu in the cluster file",
        )
    return _CLUSTER.ok(f"the drivers offer {offered} devices, and {by} selects {count} of them for a run")


def _offered(node: Object, resource: str) -> int:
    return int(node["status"].get("allocatable", {}).get(resource, 0))
