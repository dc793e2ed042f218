"""The README of the chart. Its tables are made from the comments of values.yaml and of the presets."""

import json
import re
from collections.abc import Iterator
from functools import partial

import yaml

from tools.chart.helm import CHART, PRESETS

FILE = CHART / "README.md"
VALUES = CHART / "values.yaml"
_COMMENT = "# -- "


def generated() -> str:
    """The complete content of the file."""
    text = FILE.read_text(encoding="utf-8")
    for name, table in (("presets", _presets()), ("values", _values())):
        marks = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text = marks.sub(partial(_between, table), text)
    return text


def _between(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}\n{table}\n{found[2]}"


def values() -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of every value with a comment, in the order of the file. It includes nested keys."""
    text = VALUES.read_text(encoding="utf-8")
    yield from _commented(yaml.compose(text), text.splitlines(), ())


def _commented(node: yaml.Node | None, lines: list[str], where: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    # A comment inside a list of mappings belongs to the list.
    if isinstance(node, yaml.SequenceNode) and (meaning := _above(lines, node.start_mark.line)):
        yield ".".join(where), _default(node), meaning
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = (*where, key.value)
        if meaning := _above(lines, key.start_mark.line):
            yield ".".join(path), _default(value), meaning
        else:
            yield from _commented(value, lines, path)


def _above(lines: list[str], line: int) -> str:
    comment = lines[line - 1].strip() if line else ""
    return comment.removeprefix(_COMMENT) if comment.startswith(_COMMENT) else ""


def _default(node: yaml.Node) -> str:
    value = yaml.safe_load(yaml.serialize(node))
    return "" if value in ("", None) else f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def _values() -> str:
    rows = [f"| `{key}` | {default} | {_for_readers(meaning)} |" for key, default, meaning in values()]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def _presets() -> str:
    rows = [
        f"| `presets/{preset.name}` | {preset.read_text(encoding='utf-8').partition(chr(10))[0].removeprefix('# ')} |"
        for preset in sorted(PRESETS.glob("*.yaml"))
    ]
    return "\n".join(["| file | for |", "|---|---|", *rows])


def _for_readers(meaning: str) -> str:
    return meaning.removesuffix(".").replace("|", r"\|")
