"""The training image as an archive, for the tests' cluster, which has no engine: saved beside the caches by whoever has the engine first.

Engine and cluster are two things of which a machine has one each, and each stays with a worker of pytest until that ends. Who has the
cluster may wait for the engine; who has the engine never waits for the cluster, but leaves the archive as soon as its image is built. So
nobody waits for long, and no two for each other.
"""

import fcntl
import hashlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.strict import need
from tools import docker_engine
from tools.docker_engine import BASE, CACHE, Engine
from tools.installation import REPOSITORY

TARGET, NAME = "train-cpu", "gregory-tested:cpu"
# What of the checkout Dockerfile.train copies; of the base models the file that has all their digests.
COPIED = ("Dockerfile.train", ".dockerignore", "manage.py", "gregory", "job", "locks", "images", "base_models/bundle.json")
POLL_SECONDS = 1.0


def build(running: Engine) -> str:
    """The training image with the demo bundle inside, and its archive; its name."""
    kept = archive()
    running.build(TARGET, NAME, BASE_MODELS="folder", REVISION="tested")
    if not kept.exists():
        for older in CACHE.glob(f"{TARGET}-*.tar"):
            older.unlink()
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            unfinished = Path(folder) / "archive"
            running.must("save", "--output", str(unfinished), NAME)
            # One rename at the end: an archive that exists is complete.
            unfinished.rename(kept)
    return NAME


def archive() -> Path:
    """Where that of this very checkout is kept."""
    digest = hashlib.sha256(BASE.encode())
    for file in _files():
        digest.update(file.relative_to(REPOSITORY).as_posix().encode())
        digest.update(file.read_bytes())
    return CACHE / f"{TARGET}-{digest.hexdigest()[:16]}.tar"


def received() -> Path:
    """The archive, once it is there; built here if nobody else has the engine."""
    kept = archive()
    while not kept.exists():
        if _is_free():
            need(docker_engine.usable(), what="a Docker engine that root may start", remedy=docker_engine.REMEDY)
            with docker_engine.running() as running:
                build(running)
        time.sleep(POLL_SECONDS)
    return kept


def _files() -> Iterator[Path]:
    for name in COPIED:
        found = REPOSITORY / name
        inside = sorted(found.rglob("*")) if found.is_dir() else [found]
        yield from (file for file in inside if file.is_file() and "__pycache__" not in file.parts)


def _is_free() -> bool:
    with docker_engine.LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
