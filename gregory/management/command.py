"""The base class of every command of this project."""

import signal
import sys
from typing import IO, Any, TextIO, cast

from django.core.management.base import BaseCommand

from gregory.management.text_stream import TextStream
from gregory.output import Output
from gregory.runs.exit_codes import of_signal
from gregory.shutdown import describe_signal


class ManagementCommand(BaseCommand):
    """A command whose output cannot end its work. Its exit code is that of its work."""

    # Django's checks are for web sites and take time.
    requires_system_checks = ()
    stdout: TextStream
    stderr: TextStream

    def __init__(self, stdout: IO[str] | None = None, stderr: IO[str] | None = None, **options: Any) -> None:
        """stdout, stderr: by default those of the process."""
        self._outputs = Output(stdout or sys.stdout), Output(stderr or sys.stderr)
        super().__init__(*cast(tuple[TextIO, TextIO], self._outputs), **options)
        paint = self.stderr.style_func
        self.stdout, self.stderr = (TextStream(output) for output in self._outputs)
        self.stderr.style_func = paint

    def execute(self, *args: Any, **options: Any) -> str | None:
        """The call of `call_command`, with its streams in `options`."""
        for name in ("stdout", "stderr"):
            if stream := options.pop(name, None):
                setattr(self, name, stream if isinstance(stream, TextStream) else TextStream(Output(stream)))
        return super().execute(*args, **options)

    def run_from_argv(self, argv: list[str]) -> None:
        """The call of the command line. An incomplete standard output is reported, unless its reader has ended."""
        output, errors = self._outputs
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            # A user's Ctrl-C is no error of the program, so there is no traceback.
            self.stderr.write(describe_signal(signal.SIGINT))
            sys.exit(of_signal(signal.SIGINT))
        finally:
            output.finish()
            if output.error is not None and not isinstance(output.error, BrokenPipeError):
                self.stderr.write(f"standard output is incomplete: {output.error}")
            errors.finish()
