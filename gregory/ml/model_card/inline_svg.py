"""A matplotlib figure as a part of an HTML page.

It has no namespaces and no style of its own. Its ids are unique on the page, and it has the colours and the font of the page. Screen
readers get a title and a description.
"""

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# matplotlib has no CSS variables. Figures use these colours, which have no other use, and the variables replace them.
INK, GRID, TRAIN, VALIDATION, TEST = (f"#0101{number:02x}" for number in range(1, 6))
_VARIABLES = {INK: "--ink", GRID: "--grid", TRAIN: "--train", VALIDATION: "--validation", TEST: "--test"}

_COLOUR = re.compile("|".join(_VARIABLES))
_FONT_FAMILY = re.compile(r"font-family: [^;]*;? ?")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"url\(#(\w+)\)")


def inline_svg(figure: "Figure", *, key: str, title: str, description: str) -> str:
    """One <svg> element. key: unique on the page, the start of every id. Equal figures give equal text."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(stream.getvalue())  # noqa: S314 - matplotlib's own output
    for parent in root.iter():
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    used = _referenced(root)
    for element in root.iter():
        _adapt(element, key, used)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{key}-title",
        "aria-describedby": f"{key}-description",
    }
    for tag, text in (("desc", description), ("title", title)):
        element = ElementTree.Element(tag, {"id": f"{key}-{'description' if tag == 'desc' else tag}"})
        element.text = text
        root.insert(0, element)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _referenced(root: ElementTree.Element) -> set[str]:
    values = [(_local(name), value) for element in root.iter() for name, value in element.attrib.items()]
    links = {value.removeprefix("#") for name, value in values if name == "href"}
    return links | {match for _, value in values for match in _REFERENCE.findall(value)}


def _adapt(element: ElementTree.Element, key: str, used: set[str]) -> None:
    element.tag = _local(element.tag)
    element.tail = None
    if element.tag not in ("text", "tspan"):
        element.text = None
    attributes = {}
    for qualified, value in element.attrib.items():
        name = _local(qualified)
        if name == "id":
            if value not in used:
                continue
            value = f"{key}-{value}"
        elif name == "href":
            value = f"#{key}-{value.removeprefix('#')}"
        elif name == "transform" and value.startswith("rotate(-0 "):
            continue
        attributes[name] = _page_style(_REFERENCE.sub(rf"url(#{key}-\1)", value))
    element.attrib = attributes


def _page_style(value: str) -> str:
    value = _COLOUR.sub(lambda match: f"var({_VARIABLES[match[0]]})", _FONT_FAMILY.sub("", value))
    return " ".join(_LONG_NUMBER.sub(lambda match: f"{float(match[0]):.2f}", value).split())


def _local(name: str) -> str:
    return name.rpartition("}")[2]
