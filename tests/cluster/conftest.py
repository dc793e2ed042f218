"""What tests on the cluster share: a namespace each, and an image that has Python."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tools.cluster import images
from tools.cluster.cluster import Cluster
from tools.docker_engine import base_archive

# A name under a domain that resolves nowhere: nothing is ever asked for it.
BASE = "gregory.test/base:1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A machine holds one cluster: those with one of their own come before those that share the session's."""
    items.sort(key=lambda item: item.path.name != "test_by_hand.py")


@pytest.fixture(scope="session")
def base_image_digest(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Debian with Python, as a pod names it by its digest."""
    archive = tmp_path_factory.mktemp("image") / "base.tar"
    images.write(archive, name=BASE, layer=base_archive())
    (by_digest,) = cluster.import_image(archive)
    archive.unlink()
    return by_digest


@pytest.fixture(scope="session")
def base_image(base_image_digest: str) -> str:
    """The same by its tag."""
    return BASE


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """Of its own, with the service account that a pod needs; afterwards the cluster is whole again."""
    name = f"test-{uuid4().hex[:8]}"
    cluster.must("create", "namespace", name)
    cluster.until(lambda: cluster.kubectl("get", "serviceaccount", "default", "-n", name).returncode == 0, what="its service account")
    yield name
    cluster.heal()
    cluster.must("delete", "namespace", name, "--wait=false")
