"""An image that trains, for whatever room asks; and recording what is seen, where that is asked for."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gregory.launch.kubernetes import diagnose_job
from tests.cluster.cluster import Cluster
from tests.kubernetes import slim_image
from tests.kubernetes.recording import Recorder


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
