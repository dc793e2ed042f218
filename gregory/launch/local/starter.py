"""Start the process of a run: a fork server forks it. Without one, it begins alone."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from gregory.forking.client import Forked, Server, start_server
from gregory.forking.protocol import Beginning, Kind, is_known
from gregory.launch.database import of_run
from gregory.launch.local import early
from gregory.ml.stages.environment import preloaded, stage_environment

COMMAND = [sys.executable, "-m", "job"]
PRELOADED = ("job.preload",)
# The imports of a fork server take seconds, unless a file server hangs.
FORK_SECONDS = 60.0


class Starter:
    """Starts the runs of one runner. Its fork server ends with this object, and the runs continue."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._load: tuple[str, ...] = ()
        # A run that is set up and has no specification, and its variables.
        self._ready: tuple[Forked, dict[str, str]] | None = None

    def expect(self, algorithms: Iterable[str]) -> None:
        """Several runs will train these algorithms."""
        self._load = preloaded(set(algorithms))

    def prepare(self, *, folder: Path, environment: Mapping[str, str]) -> None:
        """Start the fork server. Its imports take time."""
        if self._server is None or self._server.has_ended():
            self._server, early.server = early.server, None
            # Of several runs, the first lets the server load the libraries of the others.
            if self._server is not None and not self._load:
                self._make_ready(of_run(environment))
        if self._server is None or self._server.has_ended():
            # A stage has all variables of the fork server in its memory.
            modules = (*PRELOADED, early.backend(environment))
            self._server = start_server(modules, folder=folder, environment=stage_environment(environment))

    def start_run(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], stdout: BinaryIO, stderr: BinaryIO
    ) -> subprocess.Popen[bytes] | Forked:
        """The process in a session of its own. A forked one waits for `begin`. Raises OSError."""
        if ready := self._take_ready(command, environment):
            ready.beginning = replace(ready.beginning, standard_output=stdout.name, standard_error=stderr.name)
            return ready
        if is_known(command):
            self.prepare(folder=folder, environment=environment)
        return self._fork(command, environment, stdout.fileno(), stderr.fileno(), load=self._load) or subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            # Ctrl-C in the terminal must reach the command only. The command then cancels the run.
            start_new_session=True,
        )

    def _fork(
        self, command: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: int, *, load: Sequence[str] = (), ready: str = ""
    ) -> Forked | None:
        if self._server is None:
            return None
        return self._server.fork(
            command,
            kind=Kind.RUN,
            environment=environment,
            stdout=stdout,
            stderr=stderr,
            load=load,
            ready=ready,
            needed=partial(_before, time.monotonic() + FORK_SECONDS),
        )

    def _make_ready(self, environment: dict[str, str]) -> None:
        """Fork the first run before its specification is known. It sets Django up beside the work of the command."""
        with Path(os.devnull).open("wb") as nothing:
            forked = self._fork(COMMAND, environment, nothing.fileno(), nothing.fileno(), ready="job.__main__:set_up")
        self._ready = (forked, environment) if forked else None

    def _take_ready(self, command: Sequence[str], environment: Mapping[str, str]) -> Forked | None:
        """The run that was made ready, if it has all but additional variables."""
        if self._ready is None:
            return None
        (forked, its_own), self._ready = self._ready, None
        if list(command) != COMMAND or not its_own.items() <= environment.items() or forked.poll() is not None or forked.untold:
            forked.release()
            return None
        forked.beginning = Beginning(variables=dict(environment.items() - its_own.items()))
        return forked


def _before(end: float) -> bool:
    return time.monotonic() < end
