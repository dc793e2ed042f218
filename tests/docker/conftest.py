"""Built images, and installations whose runs are containers."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.docker import image_archive
from tests.docker.installations import of_containers
from tests.strict import need
from tools import postgresql
from tools.cluster import run_image
from tools.docker_engine import Engine
from tools.installation import Installation, create_migrated


@pytest.fixture(scope="session")
def cpu_image(docker_engine: Engine, demo_bundle: Path) -> str:
    """The training image with the demo bundle inside."""
    return image_archive.build(docker_engine)


@pytest.fixture(scope="session")
def gpu_image(docker_engine: Engine) -> str:
    """The GPU image without its CUDA libraries, which are 3 GB."""
    return docker_engine.build("train", "gregory-tested:gpu", REVISION="tested")


@pytest.fixture(scope="session")
def small_image(docker_engine: Engine, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that trains `lgbm_tfidf`, and takes no build."""
    need(run_image.usable(), what="Python 3.11", remedy=run_image.REMEDY)
    archive = tmp_path_factory.mktemp("run") / "images.tar"
    run_image.write(archive, small_bundle)
    docker_engine.must("load", "--input", str(archive))
    archive.unlink()
    return run_image.NAME


@pytest.fixture(scope="session")
def scripted_image(small_image: str) -> str:
    """An image in which scripted work replaces the stages."""
    return run_image.SCRIPTED


@pytest.fixture(scope="session")
def postgres_image(docker_engine: Engine) -> str:
    folder = str(Path(__file__).parent / "postgres")
    docker_engine.must("build", "--network=host", "--tag=gregory-postgres", f"--build-arg=BASE_IMAGE={docker_engine.base()}", folder)
    return "gregory-postgres"


@pytest.fixture
def docker_installation(
    tmp_path: Path, small_bundle: Path, postgresql_server: postgresql.Server, docker_engine: Engine, cpu_image: str
) -> Iterator[Installation]:
    """A migrated installation on PostgreSQL whose runs are containers that train from the tiny bundle."""
    database = f"site_{uuid4().hex[:12]}"
    create_migrated(postgresql_server, database)
    variables = postgresql_server.environment(database)
    with of_containers(tmp_path / "installation", docker_engine, image=cpu_image, bundle=small_bundle, database=variables) as installation:
        yield installation
