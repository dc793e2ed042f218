"""Words of columns. Another version of this program may have written a word that this version does not know. No Django."""

from enum import StrEnum
from typing import Self

# The width of the widest column of such words.
MAXIMUM_CHARACTERS = 20


class Word(StrEnum):
    """A word of a column. `Word(text)` keeps a word that has no member: it equals its text and no member."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not 0 < len(value) <= MAXIMUM_CHARACTERS or not value.isprintable():
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown
