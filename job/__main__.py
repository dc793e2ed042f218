"""`python -m job`: read the specification, set up Django, execute the run."""

import os
import sys
from importlib import import_module

from gregory import privacy
from gregory.collector import skip_at_exit, without_collector
from gregory.env import read_environment
from gregory.runs import exit_codes
from gregory.runs.spec import RunHandle
from job.specification import specification


def main() -> int:
    """The exit code: SUCCESS if every training succeeded, FAILURE, USAGE without a usable specification, or SIGTERM."""
    privacy.hide_memory()
    environment, spec = read_environment(), specification()
    if spec is None:
        return exit_codes.USAGE
    set_up()
    from django.conf import settings

    from gregory.runs.db_retry import close_connection
    from job.entrypoint import execute

    # Other programs read the published models, and a group that shares the models folder shares the folders in it. The working folder is
    # private as a whole.
    os.umask(0o022 & ~spec.folder(settings.MODELS_DIR).group_write())

    handle = RunHandle.model_validate_json(environment.GREGORY_RUN_HANDLE) if environment.GREGORY_RUN_HANDLE else None
    try:
        return execute(spec, handle, environment)
    finally:
        # Without the collector, the end of the process does not close it in order.
        close_connection()


def set_up() -> None:
    """Set Django up and import the rest. A run that was forked does it before it has its specification."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gregory.settings")
    with without_collector():
        import django
        from django.apps import apps

        if not apps.ready:
            django.setup()
        import_module("job.entrypoint")


if __name__ == "__main__":
    skip_at_exit()
    sys.exit(main())
