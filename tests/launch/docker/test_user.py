"""The user of a container. The daemon of the tests maps no users, so its answer is given here."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gregory.launch.docker.runner import DockerRunner, maps_users_of
from tools.launch_installation import installation


def daemon(*options: str) -> Any:
    return SimpleNamespace(info=lambda: {"SecurityOptions": ["name=seccomp,profile=builtin", *options]})


@pytest.mark.parametrize(
    ("options", "variables", "user"),
    [
        ((), {}, "{owner}"),
        ((), {"GREGORY_DOCKER_USER": "5:6"}, "5:6"),
        (("name=userns",), {}, ""),
        (("name=rootless",), {}, ""),
        (("name=userns",), {"GREGORY_DOCKER_USER": "5:6"}, "5:6"),
    ],
)
def test_the_owner_of_the_models_is_the_user_unless_the_daemon_maps_users(
    tmp_path: Path, options: tuple[str, ...], variables: dict[str, str], user: str
):
    if os.geteuid() == 0:
        os.chown(tmp_path, 12345, 23456)
    owner = f"{tmp_path.stat().st_uid}:{tmp_path.stat().st_gid}"

    runner = DockerRunner(installation(tmp_path, **variables))
    assert runner.user_of_containers(maps_users=maps_users_of(daemon(*options))) == user.format(owner=owner)
