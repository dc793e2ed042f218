"""Read a page of a list, with the declared fields of each object only. Ten thousand whole objects take a gigabyte and seconds. Pure."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter
from typing_extensions import TypedDict

Page = dict[str, Any]
# Raises ValueError for a page that is not understood. Its objects then stay whole.
ReadPage = Callable[[bytes], Page]
_Part = TypeVar("_Part")


class PageOf(TypedDict, Generic[_Part], total=False):
    """A page whose objects have the fields of a TypedDict."""

    metadata: Any
    items: list[_Part] | None


def reader(page: Any) -> ReadPage:
    """The function that reads this PageOf. A field that it does not declare becomes no Python object."""
    adapter: TypeAdapter[Any] = TypeAdapter(page)
    return adapter.validate_json
