"""The runners with the settings of this installation."""

import os

from django.conf import settings

from gregory.env import BASE_DIR
from gregory.launch.registry import runner_for
from gregory.launch.runner import Installation, Runner


def runner_named(name: str) -> Runner:
    """The runner of that name. Raises UnknownRunner."""
    installation = Installation(
        project_dir=BASE_DIR,
        models_dir=settings.MODELS_DIR,
        bundle_dir=settings.BASE_MODELS_DIR,
        environment=settings.ENVIRONMENT,
        inherited=os.environ,
    )
    return runner_for(name, installation)
