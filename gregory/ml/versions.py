"""Names of model versions: YYYYMMDD, then _2, _3 ..., or the name that the operator chose."""

import re
from collections.abc import Collection
from datetime import date

# model_version is varchar(100) in GregoryAI's table. The name is also a folder: no separators and no leading dot.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def next_version(taken: Collection[str], day: date) -> str:
    """The first of YYYYMMDD, YYYYMMDD_2, ... that is not `taken`."""
    base = day.strftime("%Y%m%d")
    if base not in taken:
        return base
    suffix = 2
    while f"{base}_{suffix}" in taken:
        suffix += 1
    return f"{base}_{suffix}"


def is_valid(version: str) -> bool:
    """True if the name is a valid folder name and fits GregoryAI's column."""
    return _VERSION.fullmatch(version) is not None
