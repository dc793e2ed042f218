"""What a run says: events to standard output, within the verbosity it was given."""

import os
import time
from contextlib import suppress
from typing import IO

from gregory.ml.progress import Progress
from gregory.runs import events
from gregory.runs.events import Event, Level
from gregory.runs.spec import RunSpec

# In the middle of a stage one line in this many seconds is enough for a log.
QUIET_SECONDS = 5.0


class EventLogger:
    """Writes events of one run, as text or JSON lines, flushed one by one."""

    def __init__(self, spec: RunSpec, stream: IO[str], *, event_format: str) -> None:
        self._spec = spec
        self._stream = stream
        self._encode = events.to_json if event_format == "json" else events.to_text
        self._last_progress = 0.0

    def info(self, message: str, *, algorithm: str = "", stage: str = "", tone: str = "") -> None:
        """A step worth a line at the default verbosity."""
        self._write(Level.PROGRESS, message, algorithm=algorithm, stage=stage, tone=tone)

    def warn(self, message: str, *, algorithm: str = "", stage: str = "") -> None:
        """Something an operator should look at."""
        self._write(Level.WARNING, message, algorithm=algorithm, stage=stage)

    def progress(self, progress: Progress, *, algorithm: str, stage: str) -> None:
        """What a stage reports; thinned, since a log is read by people. Warnings are never thinned."""
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
        # A full disk under the log must not end a training; what it did not take stays buffered and is tried again with the next line.
        with suppress(OSError):
            self._stream.write(self._encode(event) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Give up what the log did not take: Python would try once more at its exit and change the exit code."""
        try:
            self._stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
