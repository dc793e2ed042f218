"""The processes of the product outside the cluster: three reconcilers and one submitter, each in a network of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tools.chaos import older_release, queues
from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.networks import Network
from tools.chaos.volumes import View
from tools.installation import REPOSITORY

# Seconds between the passes. The first reconciler runs on an operator's machine and does not see the models. The second is as the chart's.
INTERVALS = (3, 15, 3)
RECONCILERS = len(INTERVALS)
MODELS_NOT_VISIBLE = {0}
SUBMITTER_NETWORK = Network(number=RECONCILERS)


@dataclass(kw_only=True)
class Reconcilers:
    """Several replicas of `reconcile_runs`, each with its own log, network and view of the models."""

    chaos_env: ChaosEnv
    networks: list[Network] = field(default_factory=lambda: [Network(number=number) for number in range(RECONCILERS)])
    older: Path | None = None
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def prepare(self) -> None:
        for number, network in enumerate(self.networks):
            network.create()
            self.view(number).create(self.chaos_env.models)
        self.older = older_release.unpack(self.chaos_env.folder / "older-release")

    def clear(self) -> None:
        for number, network in enumerate(self.networks):
            network.remove()
            self.view(number).remove()

    def view(self, number: int) -> View:
        return View(folder=self.chaos_env.folder / "views" / str(number))

    def start(self) -> None:
        self._processes = [self._start(number) for number in range(RECONCILERS)]

    def alive(self, number: int) -> bool:
        return self._processes[number].poll() is None

    def kill(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number < len(self._processes):
                self._processes[number].kill()
                self._processes[number].wait(60)

    def send(self, number: int, signal_number: int) -> None:
        self._processes[number].send_signal(signal_number)

    def start_again(self) -> None:
        """Start those that have ended, with the code of this checkout."""
        for number, process in enumerate(self._processes):
            if process.poll() is not None:
                self._processes[number] = self._start(number)

    def start_older(self, number: int) -> None:
        """The same reconciler, with the code of the older release."""
        assert self.older is not None
        self._processes[number] = self._start(number, code=self.older)

    def _start(self, number: int, *, code: Path = REPOSITORY) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(code / "manage.py"), "reconcile_runs", "--interval", str(INTERVALS[number])]
        environment = {**self.chaos_env.inside, "PYTHONPATH": str(code)}
        if code != REPOSITORY and self.chaos_env.kueue:
            environment["GREGORY_CLUSTER_CONFIG"] = str(self.chaos_env.older_file)
        if number not in MODELS_NOT_VISIBLE:
            environment["TEST_MODELS_DIR"] = str(self.view(number).folder)
        with (self.chaos_env.folder / f"reconciler-{number}.log").open("ab") as log:
            log.write(f"--- {time.strftime('%H:%M:%S', time.gmtime())} {code.name}\n".encode())
            log.flush()
            return subprocess.Popen(self.networks[number].command(command), cwd=code, env=environment, stdout=log, stderr=log)


@dataclass(kw_only=True)
class Submitter:
    """One `train_models` at a time: for a batch, or for one subject of an incomplete batch."""

    chaos_env: ChaosEnv
    network: Network = SUBMITTER_NETWORK
    _process: subprocess.Popen[bytes] | None = None

    def submit(self, team: str, *arguments: str) -> None:
        """Run the command and wait for its end. Its exit code does not matter."""
        command = [sys.executable, str(REPOSITORY / "manage.py"), "train_models", "--runner", "kubernetes", "--all-articles"]
        command += ["--team", team, *arguments]
        environment = dict(self.chaos_env.inside)
        if self.chaos_env.kueue and queues.priority_of(team) == queues.URGENT:
            environment["GREGORY_CLUSTER_CONFIG"] = str(self.chaos_env.urgent_file)
        with (self.chaos_env.folder / "submitter.log").open("ab") as log:
            self._process = subprocess.Popen(self.network.command(command), cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        self._process.wait()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
