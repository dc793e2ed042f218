"""The training image as an archive in the cache, for the cluster, which has no Docker engine.

A machine has one engine and one cluster, and each belongs to one worker of pytest until that worker ends. The worker with
the engine writes the archive as soon as its image is built. It never waits for the cluster. The worker with the cluster
waits for the archive. So two workers never wait for each other.
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
# Files that Dockerfile.train copies. The file of the base models contains all their digests.
COPIED = ("Dockerfile.train", ".dockerignore", "manage.py", "gregory", "job", "locks", "images", "base_models/bundle.json")
POLL_SECONDS = 1.0


def build(running: Engine) -> str:
    """Build the training image with the demo bundle, and its archive. Returns the name of the image."""
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
    """The path of the archive for this checkout."""
    digest = hashlib.sha256(BASE.encode())
    for file in _files():
        digest.update(file.relative_to(REPOSITORY).as_posix().encode())
        digest.update(file.read_bytes())
    return CACHE / f"{TARGET}-{digest.hexdigest()[:16]}.tar"


def received() -> Path:
    """The archive, as soon as it exists. It is built here if no other process has the engine."""
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
