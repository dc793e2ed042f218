"""The standard output and the standard error of a command. Only colours and the progress bar have control characters."""

from collections.abc import Callable
from typing import TextIO, TypeAlias, cast

from django.core.management.base import OutputWrapper

from gregory.output import Output, visible

Paint: TypeAlias = Callable[[str], str]


class TextStream(OutputWrapper):
    """Django's stream of a command, for texts from databases, servers and files. A colour is added after the text is made visible."""

    def __init__(self, output: Output) -> None:
        super().__init__(cast(TextIO, output))
        self._output = output

    def write(self, msg: str = "", style_func: Paint | None = None, ending: str | None = None) -> None:  # type: ignore[override]
        """Write the text, by default as a line."""
        ending = self.ending if ending is None else ending
        paint = style_func or self.style_func
        # The colour ends before the line does, so that the next line has none.
        self.draw(paint(visible(msg).removesuffix(ending)) + ending)

    def draw(self, text: str) -> None:
        """Write a text whose control characters are ours."""
        self._output.draw(text)
