"""What rooms of the cluster share: an image that trains, an installation that uses it; and recording, where that is asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gregory.launch.kubernetes.diagnose import job as diagnose_job
from gregory.runs.spec import new_run_id
from tests.docker import handover
from tests.kubernetes import slim_image
from tests.kubernetes.production import Production, producing
from tests.kubernetes.recording import Recorder
from tools import postgresql
from tools.cluster.cluster import Cluster
from tools.cluster.namespace import ClusterNamespace


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
def slim(cluster: Cluster, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image that runs `python -m job` without TensorFlow."""
    archive = tmp_path_factory.mktemp("slim") / "slim.tar"
    slim_image.write(archive, small_bundle)
    cluster.import_image(archive)
    archive.unlink()
    return slim_image.NAME


@pytest.fixture(scope="session")
def training_image(cluster: Cluster, demo_bundle: Path) -> str:
    """What Dockerfile.train builds, with the demo bundle inside."""
    cluster.import_image(handover.received())
    return handover.NAME


@pytest.fixture(scope="module")
def production(
    cluster: Cluster, cluster_postgresql: postgresql.Server, slim: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """One for all tests of a module."""
    cluster_namespace = ClusterNamespace(cluster=cluster, namespace=f"runs-{new_run_id()}", folder=tmp_path_factory.mktemp("production"))
    with producing(cluster_namespace, cluster_postgresql, slim) as production:
        yield production
