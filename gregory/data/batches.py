"""Long sequences in parts, for statements and transactions of a bounded size."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Value = TypeVar("Value")


def batches(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """The values in lists of `size`, in their order. The last list may be shorter."""
    remaining = iter(values)
    while batch := list(islice(remaining, size)):
        yield batch
