"""What rooms of the cluster share: an image that trains, an installation that uses it; and recording, where that is asked for."""

from collections.abc import Callable, Iterator
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
from tools.cluster.namespace import ClusterNamespace


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Tests of rows cover the same causes, so only a recording needs this module."""
    return True if collection_path.name == "test_recorded_disruptions.py" and not config.getoption("--record") else None


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Keeps the last observation's objects under the name of their cause."""
    if not request.config.getoption("--record"):
        yield lambda cause: None
        return
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnose_job, "observe_job", recorder)
        yield recorder.keep


@pytest.fixture(scope="session")
def training_image(cluster: Cluster, demo_bundle: Path) -> str:
    """What Dockerfile.train builds, with the demo bundle inside."""
    cluster.import_image(image_archive.received())
    return image_archive.NAME


@pytest.fixture(scope="module")
def production(
    cluster: Cluster, cluster_postgresql: postgresql.Server, run_images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """One for all tests of a module."""
    cluster_namespace = ClusterNamespace(cluster=cluster, namespace=f"runs-{new_run_id()}", folder=tmp_path_factory.mktemp("production"))
    with producing(cluster_namespace, cluster_postgresql, run_image.NAME) as production:
        yield production
