"""Installations whose runs are containers."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.docker_engine import Engine
from tools.installation import Installation


@contextmanager
def of_containers(folder: Path, engine: Engine, *, image: str, bundle: Path, database: Mapping[str, str]) -> Iterator[Installation]:
    """An installation in the network of the host. At the end, all containers are removed.

    database: the variables of the connection to its migrated database.
    """
    environment = {
        "DOCKER_HOST": engine.host,
        "GREGORY_RUNNER": "docker",
        "GREGORY_DOCKER_IMAGE": image,
        "GREGORY_DOCKER_NETWORK": "host",
        "GREGORY_BASE_MODELS": str(bundle),
        **database,
    }
    installation = Installation(folder, environment=environment)
    # Containers read the folders as another user, and pytest's temporary folders are private.
    for parent in (*installation.models.parents, *bundle.parents):
        if parent.is_relative_to(tempfile.gettempdir()) and parent.stat().st_mode & 0o077 == 0:
            parent.chmod(0o755)
    os.chown(installation.models, 12345, 12345)
    yield installation
    engine.remove_containers()
