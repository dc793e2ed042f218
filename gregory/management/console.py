"""The events of runs on standard output: a progress bar on a terminal, lines in a pipe, up to the verbosity."""

import time
from collections.abc import Callable
from typing import cast

from django.core.management.color import Style
from tqdm import tqdm

from gregory.management.text_stream import Paint, TextStream
from gregory.output import one_line
from gregory.runs import events
from gregory.runs.events import QUIET_SECONDS, Event, Level


class _BarLine:
    """The stream for tqdm, which moves the cursor."""

    def __init__(self, stdout: TextStream) -> None:
        self._stdout = stdout
        self.encoding: str = stdout.encoding
        self.fileno: Callable[[], int] = stdout.fileno
        self.flush = stdout.flush

    def write(self, text: str) -> None:
        """Write without a line break."""
        self._stdout.draw(text)


class Console:
    """Prints the events of the runs of one command. several: some work at the same time, so a terminal gets lines and no bar."""

    def __init__(self, stdout: TextStream, style: Style, *, verbosity: int, several: bool = False) -> None:
        self._stdout = stdout
        self._style = style
        self._verbosity = verbosity
        self._has_bar = stdout.isatty() and not several
        self._bar: tqdm | None = None
        self._bar_stage: tuple[str, str] = ("", "")
        self._last_progress: dict[str, float] = {}

    def show_line(self, line: str) -> None:
        """Print one line of the event stream of a run. A line that is no event came from a library and is dropped."""
        try:
            event = events.parse(line)
        except ValueError:
            return
        self.show(event)

    def show(self, event: Event) -> None:
        """Print one event, if the verbosity includes its level."""
        if event.level > self._verbosity:
            return
        if event.fraction is not None and self._has_bar:
            self._advance(event)
            return
        if event.fraction is not None:
            now = time.monotonic()
            if now - self._last_progress.get(event.run_id, -QUIET_SECONDS) < QUIET_SECONDS:
                return
            self._last_progress[event.run_id] = now
        self.close()
        self._stdout.write(events.to_text(event), self._paint(event))

    def info(self, message: str, paint: Paint | None = None) -> None:
        """Print a line of the command itself, from verbosity 1."""
        if self._verbosity >= Level.PROGRESS:
            self.close()
            self._stdout.write(one_line(message), paint)

    def error(self, message: str) -> None:
        """Print a failure that the run could not log itself, from verbosity 1."""
        self.info(message, self._style.ERROR)

    def warn(self, message: str) -> None:
        """Print a warning of the command itself, from verbosity 2."""
        if self._verbosity >= Level.WARNING:
            self.close()
            self._stdout.write(one_line(f"WARNING {message}"), self._style.WARNING)

    def close(self) -> None:
        """Remove the bar from the terminal."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _advance(self, event: Event) -> None:
        stage = (event.algorithm, event.stage)
        if self._bar is None or stage != self._bar_stage:
            self.close()
            # tqdm measures the time and draws. The event has the fraction.
            self._bar = tqdm(
                total=100,
                desc=one_line(f"{event.subject} {event.algorithm or event.stage}"),
                file=_BarLine(self._stdout),
                leave=False,
                dynamic_ncols=True,  # a bar wider than the terminal would wrap and leave a line at every update
                bar_format="{desc} {percentage:3.0f}% {elapsed}<{remaining} |{bar:20}|{postfix}",
            )
            self._bar_stage = stage
        self._bar.set_postfix_str(one_line(event.message), refresh=False)
        self._bar.n = round(100 * (event.fraction or 0))
        # Without refresh, tqdm skips updates, and a short stage would have no bar at all.
        self._bar.refresh()

    def _paint(self, event: Event) -> Paint | None:
        if event.level >= Level.WARNING:
            return cast(Paint, self._style.WARNING)
        return {"good": self._style.SUCCESS, "bad": self._style.ERROR}.get(event.tone)
