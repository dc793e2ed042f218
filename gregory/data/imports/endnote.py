"""EndNote XML, read with defusedxml, one record at a time."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from gregory.data.imports.errors import ImportRefused
from gregory.data.imports.table import Limits, Record, Table

COLUMNS = ("id", "doi", "pmid", "title", "abstract", "notes", "label")
_PATHS = ("rec-number", "electronic-resource-num", "accession-num", "titles/title", "abstract", "notes", "label")


def open_table(path: Path, limits: Limits) -> Table:
    return Table(description="EndNote XML", columns=COLUMNS, records=_records(path, limits))


def _records(path: Path, limits: Limits) -> Iterator[Record]:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    number = 0
    try:
        for _, element in iterparse(str(path), events=("end",)):
            if element.tag == "record":
                number += 1
                yield _record(number, element, limits)
                # The memory of a whole file would be several times its size.
                element.clear()
    except ParseError as error:
        raise ImportRefused(f"{path} is not complete XML: {error}; export it again") from error
    except DefusedXmlException as error:
        raise ImportRefused(f"{path} defines XML entities, which EndNote does not write ({error}); export it again") from error
    except (LookupError, ValueError) as error:
        raise ImportRefused(f"{path} names an encoding that cannot be read: {error}; export it as UTF-8") from error


def _record(number: int, element: Element, limits: Limits) -> Record:
    values = [_text(element, name) for name in _PATHS]
    if not values[2].isdecimal():
        # Databases other than PubMed write their own numbers here.
        values[2] = ""
    longest = max(map(len, values))
    problem = f"a text with {longest} characters, and the limit is {limits.cell}; raise GREGORY_IMPORT_CELL if this is right"
    return Record(f"record {number}", values, problem if longest > limits.cell else "")


def _text(element: Element, path: str) -> str:
    # Each piece of a text with its own style is an element.
    found = element.find(path)
    return "" if found is None else "".join(found.itertext()).strip()
