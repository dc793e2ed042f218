"""The refusal of a file."""

from collections.abc import Sequence

REPORTED = 20


class ImportRefused(Exception):
    """Nothing was written. messages: the reasons, one line each."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


def refuse(problems: Sequence[str]) -> None:
    """Raise ImportRefused with the first problems, if there are any."""
    if len(problems) > REPORTED:
        raise ImportRefused(*problems[:REPORTED], f"... and {len(problems) - REPORTED} more")
    if problems:
        raise ImportRefused(*problems)


def shown(value: str) -> str:
    """A value for an error message: with visible blanks, and at most 60 characters."""
    return repr(value if len(value) <= 60 else value[:57] + "...")
