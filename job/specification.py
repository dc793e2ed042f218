"""The specification of a run, from the environment of its process."""

import sys

from pydantic import ValidationError

from gregory.env import read_environment
from gregory.runs.spec import RunSpec


def specification() -> RunSpec | None:
    """The RunSpec in GREGORY_RUN_SPEC. None if there is none, after one line that says why."""
    try:
        return RunSpec.model_validate_json(read_environment().GREGORY_RUN_SPEC)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        sys.stderr.write(f"GREGORY_RUN_SPEC is not a run specification: {field or 'it'}: {first['msg']}\n")
        return None
