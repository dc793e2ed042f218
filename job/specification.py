"""The specification of a run, from the environment of its process."""

import sys

from pydantic import ValidationError

from gregory.env import read_environment
from gregory.runs.spec import RunSpec


def specification() -> RunSpec | None:
    """The RunSpec in GREGORY_RUN_SPEC. None if there is none, after one line that says why."""
    text = read_environment().GREGORY_RUN_SPEC
    if not text:
        sys.stderr.write("GREGORY_RUN_SPEC is empty, and a runner sets it: start runs with train_models or predict_articles\n")
        return None
    try:
        return RunSpec.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        cause = f"{field}: {first['msg']}" if field else first["msg"]
        sys.stderr.write(f"GREGORY_RUN_SPEC is not a run specification: {cause}\n")
        return None
