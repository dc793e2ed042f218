"""The events of runs on standard output: a progress bar on a terminal, lines in a pipe, up to the verbosity."""

import time
from collections.abc import Callable

from django.core.management.base import OutputWrapper
from django.core.management.color import Style
from tqdm import tqdm

from gregory.runs import events
from gregory.runs.events import QUIET_SECONDS, Event, Level


class _BarLine:
    """The stream for tqdm. OutputWrapper alone would add a line break after every update of the bar."""

    def __init__(self, stdout: OutputWrapper) -> None:
        self._stdout = stdout
        self.encoding: str = stdout.encoding
        self.fileno: Callable[[], int] = stdout.fileno
        self.flush = stdout.flush

    def write(self, text: str) -> None:
        """Write without a line break."""
        self._stdout.write(text, ending="")


class Console:
    """Prints the events of the runs of one command."""

    def __init__(self, stdout: OutputWrapper, style: Style, *, verbosity: int) -> None:
        self._stdout = stdout
        self._style = style
        self._verbosity = verbosity
        self._bar: tqdm | None = None
        self._bar_stage: tuple[str, str] = ("", "")
        self._last_progress = 0.0

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
        if event.fraction is not None and self._stdout.isatty():
            self._advance(event)
            return
        if event.fraction is not None:
            now = time.monotonic()
            if now - self._last_progress < QUIET_SECONDS:
                return
            self._last_progress = now
        self.close()
        self._stdout.write(self._styled(event))

    def info(self, message: str) -> None:
        """Print a line of the command itself, from verbosity 1."""
        if self._verbosity >= Level.PROGRESS:
            self.close()
            self._stdout.write(message)

    def error(self, message: str) -> None:
        """Print a failure that the run could not log itself, from verbosity 1."""
        self.info(self._style.ERROR(message))

    def warn(self, message: str) -> None:
        """Print a warning of the command itself, from verbosity 2."""
        if self._verbosity >= Level.WARNING:
            self.close()
            self._stdout.write(self._style.WARNING(f"WARNING {message}"))

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
                desc=" ".join(part for part in (event.subject, event.algorithm or event.stage) if part),
                file=_BarLine(self._stdout),
                leave=False,
                dynamic_ncols=True,  # a bar wider than the terminal would wrap and leave a line at every update
                bar_format="{desc} {percentage:3.0f}% {elapsed}<{remaining} |{bar:20}|{postfix}",
            )
            self._bar_stage = stage
        self._bar.set_postfix_str(event.message, refresh=False)
        self._bar.n = round(100 * (event.fraction or 0))
        # Without refresh, tqdm skips updates, and a short stage would have no bar at all.
        self._bar.refresh()

    def _styled(self, event: Event) -> str:
        text = events.to_text(event)
        if event.level >= Level.WARNING:
            return str(self._style.WARNING(text))
        paint = {"good": self._style.SUCCESS, "bad": self._style.ERROR}.get(event.tone)
        return str(paint(text)) if paint else text
