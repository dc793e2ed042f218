"""`python -m job`: read the specification, set Django up, carry the run out."""

import os
import sys

from pydantic import ValidationError

from gregory.env import read_environment
from gregory.runs.spec import RunHandle, RunSpec

USAGE = 2


def main() -> int:
    """The exit code: 0 every algorithm succeeded, 1 one did not, 2 no usable specification, 143 ended by a signal."""
    environment = read_environment()
    try:
        spec = RunSpec.model_validate_json(environment.GREGORY_RUN_SPEC)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        sys.stderr.write(f"GREGORY_RUN_SPEC is not a run specification: {where or 'it'}: {first['msg']}\n")
        return USAGE
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gregory.settings")
    import django

    django.setup()
    from job.entrypoint import execute

    handle = RunHandle.model_validate_json(environment.GREGORY_RUN_HANDLE) if environment.GREGORY_RUN_HANDLE else None
    return execute(spec, handle, environment)


if __name__ == "__main__":
    sys.exit(main())
