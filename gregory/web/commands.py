"""Commands that the pages start. Each is a process of its own, so a training does not end with the web server."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import IO

from django.conf import settings

from gregory.env import BASE_DIR
from gregory.output import one_line

# A command reads every byte of the base models before it opens a run.
LONGEST_START = 90.0
_POLL_SECONDS = 0.3
# The rows of a run have the name of the user and of the host in 100 characters.
_LONGEST_NAME = 40


class CommandRefused(Exception):
    """The command ended without a run. The text is its last line."""


def start_command(*arguments: str, user: str, run: Callable[[], str]) -> str:
    """Start a management command for a user. Returns the id of its run, or its last line if it needs none.

    run: the id of the run that the command has opened, empty before. Raises CommandRefused.
    """
    # `gregory.management.account` takes the name of the operator from the variable that `login` sets.
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": settings.COMMAND_SETTINGS, "LOGNAME": one_line(user)[:_LONGEST_NAME]}
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, str(BASE_DIR / "manage.py"), *arguments],
            env=environment,
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + LONGEST_START
        while process.poll() is None and time.monotonic() < deadline:
            if run_id := run():
                # Its end is awaited, else it stays as a zombie.
                threading.Thread(target=process.wait, daemon=True).start()
                return run_id
            time.sleep(_POLL_SECONDS)
        if process.poll() is None:
            threading.Thread(target=process.wait, daemon=True).start()
            return "the command has not opened its run yet; look at the list of runs in a minute"
        if run_id := run():
            return run_id
        line = _last_line(output)
    if process.returncode:
        raise CommandRefused(line or f"the command ended with exit code {process.returncode}")
    return line


def _last_line(output: IO[str]) -> str:
    output.seek(0)
    lines = [line.strip() for line in output.read().splitlines() if line.strip()]
    return lines[-1].removeprefix("CommandError: ") if lines else ""
