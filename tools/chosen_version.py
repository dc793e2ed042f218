"""The version of a program that an environment variable chooses for the tests."""

import os
from collections.abc import Iterable


def chosen_version(variable: str, versions: Iterable[str]) -> str:
    """The version with its "v". The first is the default. Raises RuntimeError if the variable names another one."""
    known = [version.removeprefix("v") for version in versions]
    chosen = (os.environ.get(variable) or known[0]).removeprefix("v")
    if chosen not in known:
        raise RuntimeError(f"{variable}={chosen} cannot be built; use one of these versions: {', '.join(known)}")
    return f"v{chosen}"
