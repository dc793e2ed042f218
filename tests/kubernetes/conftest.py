"""Fixtures of the tests on Kubernetes: recording, the training image, and an installation."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import pytest

from gregory.launch.kubernetes.diagnose import job as diagnose_job
from gregory.runs.spec import new_run_id
from tests.docker import image_archive
from tests.kubernetes.production import Production, producing
from tests.kubernetes.recording import Recorder
from tools import postgresql
from tools.cluster import run_image
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace, prepared_namespace


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Two modules need an option. Tests of rows cover the causes that one records. The other starts a second node and a file server."""
    needed = {"test_recorded_disruptions.py": "--record", "test_two_nodes.py": "--two-nodes"}.get(collection_path.name)
    return True if needed is not None and not config.getoption(needed) else None


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Writes the objects of the last observation under the name of their cause. Without --record it does nothing."""
    if not request.config.getoption("--record"):
        yield lambda cause: None
        return
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnose_job, "observe_job", recorder)
        yield recorder.keep


@pytest.fixture(scope="session", autouse=True)
def import_of_the_training_image(request: pytest.FixtureRequest) -> Iterator[Future[object] | None]:
    """Imports the image of Dockerfile.train beside the tests of this folder if one of them needs it. It has 3.6 GB."""
    if not any("training_image" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    request.getfixturevalue("demo_bundle")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(lambda: cluster.import_image(image_archive.received()))


@pytest.fixture(scope="session")
def training_image(import_of_the_training_image: Future[object]) -> str:
    """The image of Dockerfile.train on the node, with the demo bundle inside."""
    import_of_the_training_image.result()
    return image_archive.NAME


@pytest.fixture(scope="module")
def production(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """One installation for all tests of a module. Scripted work replaces the trainings."""
    cluster_namespace = ClusterNamespace(cluster=cluster, namespace=f"runs-{new_run_id()}", folder=tmp_path_factory.mktemp("production"))
    with producing(cluster_namespace, cluster_postgresql, run_image.SCRIPTED) as production:
        yield production


@pytest.fixture(scope="module")
def module_namespace(cluster: Cluster, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterNamespace]:
    with prepared_namespace(cluster, base_image, tmp_path_factory.mktemp("jobs")) as cluster_namespace:
        yield cluster_namespace


@pytest.fixture
def job_namespace(module_namespace: ClusterNamespace) -> Iterator[ClusterNamespace]:
    """One namespace for all tests of a module that start no pod. Each test begins without Jobs and with the first cluster file."""
    config = deepcopy(module_namespace.config)
    yield module_namespace
    module_namespace.config = config
    module_namespace.kubectl("delete", "jobs", "--all")
