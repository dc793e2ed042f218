"""The event lines of a run: one event per line, as text for people or as JSON for the command that follows the run."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import IntEnum

from gregory.output import one_line

_TEXT = re.compile(
    r"(?P<at>\S+Z) (?P<level>INFO|WARNING|ERROR) (?P<run_id>\S+) (?P<about>[^\s:]+):(?: \[ *(?P<share>\d+)%\])? (?P<message>.*)"
)


# A log for people gets at most one progress message of a stage in this time.
QUIET_SECONDS = 5.0


class Level(IntEnum):
    """The verbosity from which an event is shown (section 8 of the specification)."""

    PROGRESS = 1
    WARNING = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. subject: team/subject. algorithm, stage: empty if the event concerns the whole run.

    tone: "good" or "bad" at an end, else empty.
    fraction: the part of the stage that is done, from 0 to 1. Only events within a stage have it. A terminal shows them as a bar.
    """

    level: Level
    at: str
    run_id: str
    subject: str
    message: str
    algorithm: str = ""
    stage: str = ""
    tone: str = ""
    fraction: float | None = None


def now() -> str:
    """The time of an event, UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_json(event: Event) -> str:
    """One line without its newline."""
    return json.dumps(asdict(event))


def from_json(line: str) -> Event:
    """The event of a line from `to_json`. Raises ValueError if the line is not an event."""
    try:
        value = json.loads(line)
        return Event(**{**value, "level": Level(value["level"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"not an event: {line[:200]!r}") from error


def to_text(event: Event) -> str:
    """One line for a log: time, level, run, subject and algorithm, message."""
    about = "/".join(part for part in (event.subject, event.algorithm) if part)
    level = "WARNING" if event.level >= Level.WARNING else "ERROR" if event.tone == "bad" else "INFO"
    share = "" if event.fraction is None else f" [{event.fraction:4.0%}]"
    return f"{event.at} {level} {event.run_id} {one_line(about)}:{share} {one_line(event.message)}"


def from_text(line: str) -> Event:
    """The event of a log line, without its stage and the tone of a good end. Raises ValueError if the line is not an event."""
    match = _TEXT.fullmatch(line)
    if match is None:
        raise ValueError(f"not an event: {line[:200]!r}")
    team, _, rest = match["about"].partition("/")
    subject, _, algorithm = rest.partition("/")
    return Event(
        level=Level.WARNING if match["level"] == "WARNING" else Level.PROGRESS,
        at=match["at"],
        run_id=match["run_id"],
        subject=f"{team}/{subject}",
        message=match["message"],
        algorithm=algorithm,
        tone="bad" if match["level"] == "ERROR" else "",
        fraction=None if match["share"] is None else int(match["share"]) / 100,
    )


def parse(line: str) -> Event:
    """The event of a line in either form. Raises ValueError if the line is not an event."""
    return from_json(line) if line.startswith("{") else from_text(line)
