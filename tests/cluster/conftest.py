"""Fixtures of the tests of the cluster."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tools.cluster.cluster import Cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a cluster of their own run before tests with the session's cluster: a machine holds one cluster."""
    items.sort(key=lambda item: item.path.name != "test_by_hand.py")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace with the service account that a pod needs. Afterwards every daemon of the cluster runs again."""
    name = f"test-{uuid4().hex[:8]}"
    cluster.must("create", "namespace", name)
    cluster.until(lambda: cluster.kubectl("get", "serviceaccount", "default", "-n", name).returncode == 0, what="its service account")
    yield name
    cluster.heal()
    cluster.must("delete", "namespace", name, "--wait=false")
