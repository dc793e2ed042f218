"""The progress messages of a stage: one JSON object per line, for any supervisor."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import IO

from gregory.output import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One progress message.

    fraction: the completed part of the stage, 0 to 1; None if unknown.
    epoch: counted from 1. figures: the numbers of this step (loss, val_loss ...).
    """

    message: str
    fraction: float | None = None
    epoch: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    warning: bool = False


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Discard the message, for use as a library."""


def encode(progress: Progress) -> str:
    """One line of JSON without its newline. Fields without information and figures that are not numbers are left out."""
    fields = asdict(progress)
    # JSON has no NaN, and PostgreSQL refuses a whole value with NaN.
    fields["figures"] = {name: figure for name, figure in progress.figures.items() if math.isfinite(figure)}
    # Compare by identity, because a fraction of 0 equals False.
    return json.dumps({key: value for key, value in fields.items() if value is not None and value is not False and value != {}})


def decode(line: str) -> Progress:
    """The inverse of `encode`. Raises ValueError if the line is not a progress message."""
    value = json.loads(line)
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        raise ValueError(f"not a progress line: {line[:200]!r}")
    return Progress(**{key: value[key] for key in Progress.__slots__ if key in value})


def writer(stream: IO[str]) -> Report:
    """A report that writes JSON lines to `stream`. Each line is flushed, so that a killed stage loses none."""
    output = Output(stream)

    def report(progress: Progress) -> None:
        output.write(encode(progress) + "\n")
        output.flush()

    return report
