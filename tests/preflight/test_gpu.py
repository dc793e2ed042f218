"""Preflight of GPUs: nodes of a device plugin, and devices of drivers. The answers of the API server are made."""

from typing import Any
from unittest.mock import Mock

import pytest

from gregory.launch.kubernetes.cluster_config import ClusterConfig, load_cluster_config
from gregory.launch.kubernetes.cluster_gpu import Gpu
from gregory.launch.kubernetes.namespace import Namespace
from gregory.preflight.gpu import check_gpu
from tools import golden_jobs

OF_CLASS, OF_TEMPLATE = {"deviceClassName": "gpu.example.org"}, {"templateName": "gpus"}
CLASS = {"metadata": {"name": "gpu.example.org"}, "spec": {"extendedResourceName": "nvidia.com/gpu"}}
CORRECT = "add one, install the device plugin, or correct gpu and nodeSelector in the cluster file"


def config(**gpu: Any) -> ClusterConfig:
    return load_cluster_config(golden_jobs.HERE / "cluster-minimal.yaml").model_copy(update={"gpu": Gpu.model_validate(gpu)})


def cluster(
    *, nodes: list[int] | None = None, classes: list[Any] | None = None, devices: int | None = None, version: int | None = 36
) -> Mock:
    """A cluster whose nodes offer so many GPUs, and whose drivers offer so many devices. devices: None: no permission."""
    found = Mock(spec=Namespace)
    found.nodes.return_value = None if nodes is None else [{"status": {"allocatable": {"nvidia.com/gpu": str(one)}}} for one in nodes]
    found.device_classes.return_value = classes
    found.minor_version.return_value = version
    slices = [{"spec": {"devices": [{"name": "first"}]}}, {"spec": {"devices": [{}] * ((devices or 0) - 1)}}] if devices else [{"spec": {}}]
    found.resource_slices.return_value = None if devices is None else slices
    return found


@pytest.mark.parametrize(
    ("namespace", "gpu", "line"),
    [
        (cluster(), {"count": 0}, "OK      cluster     runs get no GPU"),
        (cluster(nodes=[2, 1, 0]), {"count": 2}, "OK      cluster     nodes that offer 2 nvidia.com/gpu: 1"),
        (cluster(nodes=[1], classes=[]), {"count": 2}, f"ERROR   cluster     no node offers 2 nvidia.com/gpu; {CORRECT}"),
        (
            cluster(nodes=[0], classes=[CLASS], devices=2),
            {},
            "OK      cluster     the drivers offer 2 devices, and DeviceClass gpu.example.org, which serves nvidia.com/gpu, "
            "selects 1 of them for a run",
        ),
        (
            cluster(nodes=[0], classes=[{"metadata": {"name": "big"}, "spec": {}}], devices=2),
            {"resource": "deviceclass.resource.kubernetes.io/big"},
            "OK      cluster     the drivers offer 2 devices, and DeviceClass big, which serves deviceclass.resource.kubernetes.io/big, "
            "selects 1 of them for a run",
        ),
        (
            cluster(nodes=[0], classes=[{"metadata": {"name": "big"}, "spec": {}}], devices=2, version=35),
            {"resource": "deviceclass.resource.kubernetes.io/big"},
            "WARNING cluster     no node offers deviceclass.resource.kubernetes.io/big, and Kubernetes 1.35 serves it from DeviceClass big "
            "only with the feature gate DRAExtendedResource, which preflight cannot see; set gpu.claim.deviceClassName to big in the "
            "cluster file, or ask the operator of the cluster for the feature gate",
        ),
        (
            cluster(nodes=[0], classes=[CLASS], devices=2, version=None),
            {},
            "OK      cluster     the drivers offer 2 devices, and DeviceClass gpu.example.org, which serves nvidia.com/gpu, "
            "selects 1 of them for a run",
        ),
        (
            cluster(nodes=[0], classes=[{**CLASS, "spec": {"extendedResourceName": "amd.com/gpu"}}], devices=2),
            {},
            f"ERROR   cluster     no node offers 1 nvidia.com/gpu; {CORRECT}",
        ),
        (
            cluster(nodes=[0]),
            {},
            "WARNING cluster     no node offers 1 nvidia.com/gpu, and no permission to list the DeviceClasses, which may serve it; "
            "check them with another account: kubectl get deviceclasses --output yaml",
        ),
        (
            cluster(devices=4),
            {"claim": OF_CLASS, "count": 4},
            "OK      cluster     the drivers offer 4 devices, and DeviceClass gpu.example.org selects 4 of them for a run",
        ),
        (
            cluster(devices=0),
            {"claim": OF_TEMPLATE},
            "ERROR   cluster     the drivers offer 0 devices in all ResourceSlices, and ResourceClaimTemplate gpus selects 1 of them "
            "for a run; install the DRA driver of the GPU, or correct gpu in the cluster file",
        ),
        (
            cluster(),
            {"claim": OF_CLASS},
            "WARNING cluster     no permission to list ResourceSlices, from which DeviceClass gpu.example.org selects devices; "
            "check them with another account: kubectl get resourceslices --output yaml",
        ),
    ],
)
def test_the_finding_names_what_the_cluster_offers(namespace: Mock, gpu: dict[str, Any], line: str):
    assert str(check_gpu(namespace, config(**gpu))) == line
