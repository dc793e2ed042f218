"""Disturbances of all runs: reconcilers, API server, database and submitter are killed and started again."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.script import Disturbance, Target
from tools.installation import REPOSITORY

API_SERVER = "kube-apiserver"
RECONCILERS = 3
# The first reconciler runs on an operator's machine. The others see the models, as the reconciler of the chart does.
MODELS_NOT_VISIBLE = {0}
INTERVAL = 2


@dataclass(kw_only=True)
class Reconcilers:
    """Several replicas of `reconcile_runs`, each with its own log."""

    chaos_env: ChaosEnv
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        self._processes = [self._start(number) for number in range(RECONCILERS)]

    def kill(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._processes[number].kill()
            self._processes[number].wait(30)

    def start_again(self) -> None:
        for number, process in enumerate(self._processes):
            if process.poll() is not None:
                self._processes[number] = self._start(number)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(REPOSITORY / "manage.py"), "reconcile_runs", "--interval", str(INTERVAL)]
        environment = self.chaos_env.installation.environment
        if number not in MODELS_NOT_VISIBLE:
            environment = {**environment, "TEST_MODELS_DIR": str(self.chaos_env.models)}
        with (self.chaos_env.folder / f"reconciler-{number}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)


@dataclass(kw_only=True)
class Submitter:
    """One `train_models` at a time: for a batch, or for one subject of an incomplete batch."""

    chaos_env: ChaosEnv
    _process: subprocess.Popen[bytes] | None = None

    def submit(self, *arguments: str) -> None:
        """Run the command and wait for its end. Its exit code does not matter."""
        command = [sys.executable, str(REPOSITORY / "manage.py"), "train_models", "--runner", "kubernetes", "--all-articles", *arguments]
        with (self.chaos_env.folder / "submitter.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=REPOSITORY, env=self.chaos_env.installation.environment, stdout=log, stderr=log)
        self._process.wait()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()


class Disturber(threading.Thread):
    """Applies one disturbance after the other until `stop`. Afterwards every service runs again."""

    def __init__(self, drawn: Iterable[Disturbance], chaos_env: ChaosEnv, reconcilers: Reconcilers, submitter: Submitter) -> None:
        super().__init__(name="disturber", daemon=True)
        self.done: Counter[Target] = Counter()
        self.error: BaseException | None = None
        self._drawn, self._env, self._reconcilers, self._submitter = drawn, chaos_env, reconcilers, submitter
        self._stop_asked = threading.Event()

    def run(self) -> None:
        try:
            for disturbance in self._drawn:
                if self._stop_asked.wait(disturbance.after):
                    return
                self._disturb(disturbance)
                self.done[disturbance.target] += 1
        except BaseException as error:
            self.error = error
            raise

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(120)

    def _disturb(self, disturbance: Disturbance) -> None:
        cluster, server = self._env.cluster, self._env.server
        match disturbance.target:
            case Target.RECONCILER:
                self._reconcilers.kill([disturbance.which % RECONCILERS])
                time.sleep(disturbance.away)
                self._reconcilers.start_again()
            case Target.RECONCILERS:
                self._reconcilers.kill(range(RECONCILERS))
                time.sleep(disturbance.away)
                self._reconcilers.start_again()
            case Target.API_SERVER:
                cluster.kill(API_SERVER)
                time.sleep(disturbance.away)
                cluster.start(API_SERVER)
            case Target.DATABASE:
                server.stop(crash=True)
                time.sleep(disturbance.away)
                server.start()
            case Target.SUBMITTER:
                self._submitter.kill()
