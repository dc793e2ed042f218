"""Start the process of a run: a fork server forks it. Without one, it begins alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A run that has its set-up, its variables, and no specification."""

    process: Forked
    environment: Mapping[str, str]


def request_run(server: Server, inherited: Mapping[str, str]) -> Ready | None:
    """Request a run before its specification is known. It sets Django up beside the work of the command, which does not wait here."""
    environment = of_run(inherited)
    with Path(os.devnull).open("wb") as nothing:
        null = nothing.fileno()
        process = server.request(COMMAND, kind=Kind.RUN, environment=environment, stdout=null, stderr=null, ready="job.__main__:set_up")
    return Ready(process=process, environment=environment) if process else None


class Starter:
    """Starts the runs of one runner. Its fork server ends with this object, and the runs continue."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._load: tuple[str, ...] = ()
        self._ready: Ready | None = None

    def expect(self, algorithms: Iterable[str]) -> None:
        """Several runs will train these algorithms."""
        self._load = preloaded(set(algorithms))

    def prepare(self, *, folder: Path, environment: Mapping[str, str]) -> None:
        """Start the fork server. Its imports take time."""
        if self._server is None or self._server.has_ended():
            self._server, ready = early.take()
            is_forked = self._server and ready and self._server.answer(ready.process, needed=_within(FORK_SECONDS))
            self._ready = ready if is_forked else None
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
        forked = self._server and self._server.fork(
            command,
            kind=Kind.RUN,
            environment=environment,
            stdout=stdout.fileno(),
            stderr=stderr.fileno(),
            load=self._load,
            needed=_within(FORK_SECONDS),
        )
        return forked or subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            # Ctrl-C in the terminal must reach the command only. The command then cancels the run.
            start_new_session=True,
        )

    def _take_ready(self, command: Sequence[str], environment: Mapping[str, str]) -> Forked | None:
        """The run that was made ready, if it has all but additional variables."""
        if self._ready is None:
            return None
        ready, self._ready = self._ready, None
        fits = list(command) == COMMAND and ready.environment.items() <= environment.items()
        # Of several runs, the first lets the server load the libraries of the others.
        if self._load or not fits or ready.process.poll() is not None or ready.process.untold:
            ready.process.release()
            return None
        ready.process.beginning = Beginning(variables=dict(environment.items() - ready.environment.items()))
        return ready.process


def _within(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end
