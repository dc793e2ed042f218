"""Names of model versions: YYYYMMDD, then _2, _3 ..., or the name that the operator chose."""

import re
from collections.abc import Collection
from datetime import date

# model_version is varchar(100) in GregoryAI's table. The name is also a folder: no separators and no leading dot.
_LENGTH = 100
_VERSION = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LENGTH - 1}}}")
_DATED = re.compile(r"([0-9]{8})(?:_([0-9]+))?")


def next_version(taken: Collection[str], day: date) -> str:
    """The first of YYYYMMDD, YYYYMMDD_2, ... that is not `taken`."""
    base = day.strftime("%Y%m%d")
    if base not in taken:
        return base
    suffix = 2
    while f"{base}_{suffix}" in taken:
        suffix += 1
    return f"{base}_{suffix}"


def following(version: str, taken: Collection[str]) -> str:
    """The first of VERSION_2, VERSION_3, ... that is not `taken`. A date that has a number gets another one: 20250614_2, 20250614_3."""
    day, suffix = re.sub(r"^(\d{8})_\d+$", r"\1", version), 2
    while (name := f"{day[: _LENGTH - len(f'_{suffix}')]}_{suffix}") in taken:
        suffix += 1
    return name


def age_key(version: str) -> tuple[int, int, int, str]:
    """The key that sorts versions from the oldest to the newest, as GregoryAI does. Names without a date come first, by text."""
    dated = _DATED.fullmatch(version)
    return (1, int(dated[1]), int(dated[2] or 1), version) if dated else (0, 0, 0, version)


def is_valid(version: str) -> bool:
    """True if the name is a valid folder name and fits GregoryAI's column."""
    return _VERSION.fullmatch(version) is not None
