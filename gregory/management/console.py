"""A run's events on the operator's screen: a progress bar on a terminal, plain lines in a pipe, nothing above the verbosity."""

import time
from collections.abc import Callable

from django.core.management.base import OutputWrapper
from django.core.management.color import Style
from tqdm import tqdm

from gregory.runs import events
from gregory.runs.events import QUIET_SECONDS, Event, Level


class _BarLine:
    """The terminal as tqdm needs it: OutputWrapper would end the line after every stroke of the bar."""

    def __init__(self, stdout: OutputWrapper) -> None:
        self._stdout = stdout
        self.encoding: str = stdout.encoding
        self.fileno: Callable[[], int] = stdout.fileno
        self.flush = stdout.flush

    def write(self, text: str) -> None:
        """Write and stay on the line."""
        self._stdout.write(text, ending="")


class Console:
    """Shows events of the runs of one command."""

    def __init__(self, stdout: OutputWrapper, style: Style, *, verbosity: int) -> None:
        self._stdout = stdout
        self._style = style
        self._verbosity = verbosity
        self._bar: tqdm | None = None
        self._bar_stage: tuple[str, str] = ("", "")
        self._last_progress = 0.0

    def show_line(self, line: str) -> None:
        """One line of a run's event stream; what is not an event came from a library and is dropped."""
        try:
            event = events.parse(line)
        except ValueError:
            return
        self.show(event)

    def show(self, event: Event) -> None:
        """One event, if the verbosity asks for it."""
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
        """A line of the command itself, at the default verbosity."""
        if self._verbosity >= Level.PROGRESS:
            self.close()
            self._stdout.write(message)

    def error(self, message: str) -> None:
        """An end in failure that a run could not tell itself, at the default verbosity."""
        self.info(self._style.ERROR(message))

    def warn(self, message: str) -> None:
        """A warning of the command itself."""
        if self._verbosity >= Level.WARNING:
            self.close()
            self._stdout.write(self._style.WARNING(f"WARNING {message}"))

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _advance(self, event: Event) -> None:
        stage = (event.algorithm, event.stage)
        if self._bar is None or stage != self._bar_stage:
            self.close()
            # tqdm measures and draws; the event decides how far it is.
            self._bar = tqdm(
                total=100,
                desc=" ".join(part for part in (event.subject, event.algorithm or event.stage) if part),
                file=_BarLine(self._stdout),
                leave=False,
                dynamic_ncols=True,  # a bar wider than the terminal wraps, and every stroke of it would leave a line behind
                bar_format="{desc} {percentage:3.0f}% {elapsed}<{remaining} |{bar:20}|{postfix}",
            )
            self._bar_stage = stage
        self._bar.set_postfix_str(event.message, refresh=False)
        self._bar.n = round(100 * (event.fraction or 0))
        # Stages report sparingly; tqdm's own thinning would leave a quick one without a single stroke.
        self._bar.refresh()

    def _styled(self, event: Event) -> str:
        text = events.to_text(event)
        if event.level >= Level.WARNING:
            return str(self._style.WARNING(text))
        paint = {"good": self._style.SUCCESS, "bad": self._style.ERROR}.get(event.tone)
        return str(paint(text)) if paint else text
