"""Runner names -> runners, as strings, so that a name costs no import of a container or cluster library."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import cast

from gregory.launch.errors import UnknownRunner
from gregory.launch.runners.base import Runner

RUNNERS = {"local": "gregory.launch.runners.local:LocalRunner"}


def runner_for(name: str, *, project_dir: Path, models_dir: Path, environment: Mapping[str, str]) -> Runner:
    """The runner of that name. Raises UnknownRunner naming those there are."""
    if name not in RUNNERS:
        raise UnknownRunner(f"unknown runner {name!r}; choose from {', '.join(RUNNERS)}")
    module, _, cls = RUNNERS[name].partition(":")
    return cast(Runner, getattr(import_module(module), cls)(project_dir=project_dir, models_dir=models_dir, environment=environment))
