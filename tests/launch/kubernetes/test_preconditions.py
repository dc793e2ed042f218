"""Checks of a cluster before any row. The answers of the API server are made."""

from unittest.mock import Mock

import pytest

from gregory.launch.errors import PreconditionFailed
from gregory.launch.kubernetes.cluster_config import load_cluster_config
from gregory.launch.kubernetes.cluster_gpu import Gpu
from gregory.launch.kubernetes.namespace import Namespace
from gregory.launch.kubernetes.preconditions import require_cluster
from tools import golden_jobs

CLAIM = {"claim": {"deviceClassName": "gpu.example.org"}}


@pytest.mark.parametrize(
    ("gpu", "has_api", "refused"), [(CLAIM, False, True), (CLAIM, None, False), (CLAIM, True, False), ({}, False, False)]
)
def test_a_claim_needs_the_api_of_devices(gpu: dict[str, object], has_api: bool | None, refused: bool):
    namespace = Mock(spec=Namespace)
    namespace.allocates_devices.return_value = has_api
    config = load_cluster_config(golden_jobs.HERE / "cluster-minimal.yaml").model_copy(update={"gpu": Gpu.model_validate(gpu)})

    if refused:
        with pytest.raises(
            PreconditionFailed, match=r"^gpu\.claim needs the API resource\.k8s\.io/v1, .*; use Kubernetes 1\.34 or later, or"
        ):
            require_cluster(namespace, config, {})
    else:
        require_cluster(namespace, config, {})
    assert namespace.create_job.called is not refused
