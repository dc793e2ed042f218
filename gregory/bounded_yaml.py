"""YAML text -> values, with limits. An alias repeats a part of the document, so a short text can stand for very many values."""

from typing import Any

import yaml
from yaml.events import AliasEvent
from yaml.nodes import Node

# Far above every file of ours.
MOST_VALUES = 20_000
MOST_LEVELS = 50


class Refused(yaml.MarkedYAMLError):
    """The document breaks a limit or has an impossible value. The message has nothing of its content."""


def load(text: str, *, most_values: int = MOST_VALUES, most_levels: int = MOST_LEVELS) -> Any:
    """The one document of the text. Each alias counts with all values that it stands for. Raises yaml.YAMLError."""
    loader = _Loader(text, most_values, most_levels)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """The limits act before a value is made."""

    def __init__(self, text: str, most_values: int, most_levels: int) -> None:
        super().__init__(text)
        self._most_values, self._most_levels = most_values, most_levels
        self._values = self._levels = 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        anchor, mark = event.anchor, event.start_mark
        before = self._values
        if isinstance(event, AliasEvent):
            if anchor in self.anchors and anchor not in self._sizes:
                raise Refused(problem="a part contains itself by an alias", problem_mark=mark)
            self._values += self._sizes.get(anchor or "", 0)
        else:
            self._values += 1
        self._levels += 1
        if self._values > self._most_values:
            problem = f"more than {self._most_values} values, with those of its aliases"
            raise Refused(problem=problem, problem_mark=mark)
        if self._levels > self._most_levels:
            raise Refused(problem=f"more than {self._most_levels} levels", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._levels -= 1
        if anchor and not isinstance(event, AliasEvent):
            self._sizes[anchor] = self._values - before
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError) as error:
            # PyYAML lets them pass for a date, a number or a tagged value that cannot be.
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise Refused(problem=f"an impossible {kind}, quote it if it is a text", problem_mark=node.start_mark) from error
