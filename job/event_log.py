"""The log of a run: events on standard output, up to the verbosity of the run."""

import time
from typing import IO

from gregory.ml.progress import Progress
from gregory.output import Output
from gregory.runs import events
from gregory.runs.events import QUIET_SECONDS, Event, Level
from gregory.runs.spec import RunSpec


class EventLogger:
    """Writes the events of one run as text or JSON lines. Each line is flushed."""

    def __init__(self, spec: RunSpec, stream: IO[str], *, event_format: str) -> None:
        self._spec = spec
        self._output = Output(stream)
        self._encode = events.to_json if event_format == "json" else events.to_text
        self._last_progress = 0.0

    def info(self, message: str, *, algorithm: str = "", stage: str = "", tone: str = "") -> None:
        """Write a step of the run, from verbosity 1."""
        self._write(Level.PROGRESS, message, algorithm=algorithm, stage=stage, tone=tone)

    def warn(self, message: str, *, algorithm: str = "", stage: str = "") -> None:
        """Write a warning for the operator, from verbosity 2."""
        self._write(Level.WARNING, message, algorithm=algorithm, stage=stage)

    def progress(self, progress: Progress, *, algorithm: str, stage: str) -> None:
        """Write a progress message of a stage. A text log gets at most one in QUIET_SECONDS, and every warning."""
        if progress.warning:
            self.warn(progress.message, algorithm=algorithm, stage=stage)
            return
        now = time.monotonic()
        if now - self._last_progress < QUIET_SECONDS and self._encode is events.to_text:
            return
        self._last_progress = now
        self._write(Level.PROGRESS, progress.message, algorithm=algorithm, stage=stage, fraction=progress.fraction)

    def _write(self, level: Level, message: str, *, algorithm: str, stage: str, tone: str = "", fraction: float | None = None) -> None:
        if self._spec.verbosity < level:
            return
        event = Event(
            level=level,
            at=events.now(),
            run_id=self._spec.run_id,
            subject=self._spec.label,
            message=message,
            algorithm=algorithm,
            stage=stage,
            tone=tone,
            fraction=fraction,
        )
        self._output.write(self._encode(event) + "\n")
        self._output.flush()

    def close(self) -> None:
        """Drop the text that could not be written."""
        self._output.finish()
