"""Texts in CSV files. A spreadsheet reads a cell as a formula if it begins like one, even inside quotes."""

import re

# The beginning of a formula, also in full width. An apostrophe before it makes it a text, and hides no apostrophe of the text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def as_cell(text: str) -> str:
    """The text as a cell that no spreadsheet calculates."""
    return f"'{text}" if _FORMULA.match(text) else text


def from_cell(cell: str) -> str:
    """The text of a cell from `as_cell`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
