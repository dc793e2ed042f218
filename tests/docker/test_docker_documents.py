"""Runs the Docker commands of the documents: builds, runs as containers, and the installation with Compose.

A `docker` script on the PATH adds the differences from a reader's machine: the base image and certificates of a build,
and Debian's separate program for `docker compose`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import DOCKER, Block, blocks
from tests.docs.reader import Reader
from tools.docker_engine import CLIENT, COMPOSE, Engine
from tools.installation import REPOSITORY, Installation
from tools.ports import free_port

pytestmark = pytest.mark.slow

COMPOSED = "One host with Compose"


@pytest.fixture
def programs(docker_engine: Engine, tmp_path: Path) -> Path:
    certificates = f"--secret id=ca,src={os.environ['SSL_CERT_FILE']}" if "SSL_CERT_FILE" in os.environ else ""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "docker").write_text(f"""#!/bin/sh
set -eu
command=$1; shift
case $command in
build)
    # The context of a build cannot be a checkout of links.
    cd {REPOSITORY}
    DOCKER_BUILDKIT=1 exec {CLIENT} build --network=host --build-arg BASE_IMAGE={docker_engine.base()} {certificates} "$@" ;;
compose)
    action=$1; shift
    case "$*" in *--all-teams*--algo*) ;; *--all-teams*) set -- "$@" --algo lgbm_tfidf ;; esac
    case $action in run) set -- -T "$@" ;; esac
    exec {COMPOSE} "$action" "$@" ;;
*)
    exec {CLIENT} "$command" "$@" ;;
esac
""")
    (folder / "docker").chmod(0o755)
    return folder


def blocks_of(document: str, *, composed: bool) -> list[Block]:
    ours = [block for block in blocks(document) if document != "README.md" or block.section == DOCKER]
    return [block for block in ours if (block.section == COMPOSED) is composed]


def test_images_are_built_and_runs_are_containers(docker_installation: Installation, programs: Path, tmp_path: Path):
    docker_installation.must("load_demo")
    reader = Reader(docker_installation, tmp_path / "reader", programs=programs)

    reader.follow(blocks_of("README.md", composed=False))
    reader.follow(blocks_of("docs/docker.md", composed=False))

    rows = docker_installation.rows()
    assert {(row["success"], row["runner"]) for row in rows} == {(True, "docker")}
    assert len(rows) == 2


@pytest.fixture
def composed(
    docker_engine: Engine,
    cpu_image: str,
    postgres_image: str,
    small_bundle: Path,
    docker_installation: Installation,
    programs: Path,
    tmp_path: Path,
) -> Iterator[Reader]:
    reader = Reader(docker_installation, tmp_path / "reader", programs=programs)
    (reader.checkout / "base_models").symlink_to(small_bundle)
    kept = {name: value for name, value in reader.environment.items() if not name.startswith(("POSTGRES_", "DB_", "GREGORY_"))}
    reader.environment = {**kept, "COMPOSE_PROJECT_NAME": "documents", "GREGORY_IMAGE": cpu_image, "POSTGRES_IMAGE": postgres_image}
    reader.environment["GREGORY_WEB_PORT"] = str(free_port())
    yield reader
    docker_engine.remove_containers()
    for volume in docker_engine.must("volume", "ls", "--quiet", "--filter", "name=documents_").split():
        docker_engine.must("volume", "rm", volume)
    for network in docker_engine.must("network", "ls", "--quiet", "--filter", "name=documents_").split():
        docker_engine.must("network", "rm", network)


def test_one_host_with_compose(composed: Reader):
    printed = composed.follow(blocks_of("docs/docker.md", composed=True))

    assert "all complete and unchanged" in "".join(printed.values())
