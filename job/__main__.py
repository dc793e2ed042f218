"""`python -m job`: read the specification, set up Django, execute the run."""

import os
import sys

from pydantic import ValidationError

from gregory.env import read_environment
from gregory.runs import exit_codes
from gregory.runs.spec import RunHandle, RunSpec


def main() -> int:
    """The exit code: SUCCESS if every training succeeded, FAILURE, USAGE without a usable specification, or SIGTERM."""
    environment = read_environment()
    try:
        spec = RunSpec.model_validate_json(environment.GREGORY_RUN_SPEC)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        sys.stderr.write(f"GREGORY_RUN_SPEC is not a run specification: {field or 'it'}: {first['msg']}\n")
        return exit_codes.USAGE
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gregory.settings")
    import django

    django.setup()
    from job.entrypoint import execute

    handle = RunHandle.model_validate_json(environment.GREGORY_RUN_HANDLE) if environment.GREGORY_RUN_HANDLE else None
    return execute(spec, handle, environment)


if __name__ == "__main__":
    sys.exit(main())
