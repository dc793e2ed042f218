"""The runners and the reconciler with the settings of this installation."""

import os
from functools import cache

from django.conf import settings

from gregory.env import BASE_DIR
from gregory.launch.registry import runner_for
from gregory.launch.runner import Installation, Runner
from gregory.reconcile.loop import Reconciler, RunnerFor


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


def reconciler(runner_for: RunnerFor | None = None) -> Reconciler:
    """A reconciler of this installation. runner_for: by default one runner of each name, because a runner may hold a connection."""
    return Reconciler(
        runner_for=runner_for or cache(runner_named), models_dir=settings.MODELS_DIR, stale_after=settings.STALE_AFTER_SECONDS
    )
