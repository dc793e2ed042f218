"""The installation that runners get in tests."""

import os
from collections.abc import Mapping
from pathlib import Path

from gregory.env import Environment
from gregory.launch.runner import Installation
from tools.installation import REPOSITORY


def installation(models: Path, *, bundle: Path | None = None, variables: Mapping[str, str] | None = None, **more: str) -> Installation:
    """This checkout with another models folder. variables: environment variables that the product reads."""
    variables = {**(variables or {}), **more}
    inherited = {"PATH": os.environ["PATH"], **variables}
    environment = Environment.model_validate(variables)
    return Installation(
        project_dir=REPOSITORY, models_dir=models, bundle_dir=bundle or models / "no bundle", environment=environment, inherited=inherited
    )
