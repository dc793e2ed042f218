"""Map names to runners. The values are strings, so that a name imports no container or cluster library."""

from importlib import import_module
from typing import cast

from gregory.launch.errors import UnknownRunner
from gregory.launch.runner import Installation, Runner

RUNNERS = {
    "local": "gregory.launch.local.runner:LocalRunner",
    "docker": "gregory.launch.docker.runner:DockerRunner",
    "kubernetes": "gregory.launch.kubernetes.runner:KubernetesRunner",
}


def runner_for(name: str, installation: Installation) -> Runner:
    """The runner with this name. Raises UnknownRunner, which lists the names."""
    if name not in RUNNERS:
        raise UnknownRunner(f"unknown runner {name!r}; choose from {', '.join(RUNNERS)}")
    module, _, cls = RUNNERS[name].partition(":")
    return cast(Runner, getattr(import_module(module), cls)(installation))
