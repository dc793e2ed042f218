"""What a stage says while it works: one JSON object per line, so that any supervisor can read it."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import IO


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One thing worth telling.

    fraction: how much of the stage is done, 0 to 1; None where nobody knows.
    epoch: counted from 1; figures: the numbers of this step (loss, val_loss ...).
    """

    message: str
    fraction: float | None = None
    epoch: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    warning: bool = False


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A report that nobody reads, for use as a library."""


def encode(progress: Progress) -> str:
    """One line of JSON without its newline; fields that say nothing are left out, and figures that are no numbers."""
    fields = asdict(progress)
    # JSON knows no NaN, and PostgreSQL refuses the whole value for one.
    fields["figures"] = {name: figure for name, figure in progress.figures.items() if math.isfinite(figure)}
    # Identity, not equality: a fraction of 0 equals False.
    return json.dumps({key: value for key, value in fields.items() if value is not None and value is not False and value != {}})


def decode(line: str) -> Progress:
    """The inverse of `encode`. Raises ValueError on a line that is not a progress object."""
    value = json.loads(line)
    if not isinstance(value, dict) or not isinstance(value.get("message"), str):
        raise ValueError(f"not a progress line: {line[:200]!r}")
    return Progress(**{key: value[key] for key in Progress.__slots__ if key in value})


def writer(stream: IO[str]) -> Report:
    """A report that writes JSON lines to `stream`, flushed one by one so that a killed worker loses none."""

    def report(progress: Progress) -> None:
        stream.write(encode(progress) + "\n")
        stream.flush()

    return report
