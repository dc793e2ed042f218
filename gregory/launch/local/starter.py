"""Start the process of a run: a fork server forks it. Without one, it begins alone."""

import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from gregory.forking.client import Forked, Server, start_server
from gregory.forking.protocol import Kind, is_known
from gregory.launch.local import early
from gregory.ml.stages.environment import preloaded, stage_environment

PRELOADED = ("job.preload",)
# The imports of a fork server take seconds, unless a file server hangs.
FORK_SECONDS = 60.0


class Starter:
    """Starts the runs of one runner. Its fork server ends with this object, and the runs continue."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._load: tuple[str, ...] = ()

    def expect(self, algorithms: Iterable[str]) -> None:
        """Several runs will train these algorithms."""
        self._load = preloaded(set(algorithms))

    def prepare(self, *, folder: Path, environment: Mapping[str, str]) -> None:
        """Start the fork server. Its imports take time."""
        if self._server is None or self._server.has_ended():
            self._server, early.server = early.server, None
        if self._server is None or self._server.has_ended():
            # A stage has all variables of the fork server in its memory.
            modules = (*PRELOADED, early.backend(environment))
            self._server = start_server(modules, folder=folder, environment=stage_environment(environment))

    def start_run(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], stdout: BinaryIO, stderr: BinaryIO
    ) -> subprocess.Popen[bytes] | Forked:
        """The process in a session of its own. A forked one waits for `begin`. Raises OSError."""
        if is_known(command):
            self.prepare(folder=folder, environment=environment)
        forked = self._server and self._server.fork(
            command,
            kind=Kind.RUN,
            environment=environment,
            stdout=stdout.fileno(),
            stderr=stderr.fileno(),
            load=self._load,
            needed=partial(_before, time.monotonic() + FORK_SECONDS),
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


def _before(end: float) -> bool:
    return time.monotonic() < end
