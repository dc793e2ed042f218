"""What is done to one run, as its script says. An API server or a database that is away at that moment is tried again."""

import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tools.chaos.chaos_env import ChaosEnv, Run
from tools.chaos.script import Fault, Script

LOOK_SECONDS = 0.1
# For the whole of a run, queue included.
PATIENCE_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """struck: whether there was still something to do it to; None where an answer that was lost would have told."""

    script: Script
    struck: bool | None


class Striker:
    """Strikes one run. `latest` gives the run as the tables had it last."""

    def __init__(self, chaos_env: ChaosEnv, script: Script, latest: Callable[[str], Run | None]) -> None:
        self._playground = chaos_env
        self._script = script
        self._latest = latest
        self._do: dict[Fault, Callable[[Run], bool | None]] = {
            Fault.POD_DELETED: lambda run: self._delete_pod(run, "--wait=false"),
            Fault.POD_REMOVED: lambda run: self._delete_pod(run, "--grace-period=0", "--force"),
            Fault.EVICTED: self._evict,
            Fault.WORKER_KILLED: self._kill_worker,
            Fault.RUN_KILLED: self._kill_run,
            Fault.JOB_DELETED: lambda run: self._kubectl("delete", "job", run.external_name, "--wait=false"),
            Fault.CANCELLED: self._cancel,
            Fault.SUSPENDED: self._suspend,
        }

    def strike(self) -> Strike:
        """Wait for the moment, then do it."""
        script = self._script
        if script.fault is Fault.NONE:
            return Strike(script=script, struck=False)
        run = self._wait()
        if run is None:
            return Strike(script=script, struck=False)
        time.sleep(script.delay)
        return Strike(script=script, struck=self._do[script.fault](run))

    def _wait(self) -> Run | None:
        """Until it is where it is to be struck; None where it never was."""
        script, deadline = self._script, time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            run = self._latest(script.label)
            if run is None:
                continue
            if run.is_final:
                return None
            if script.at < 0:
                if run.external_name.startswith("gregory-train-"):
                    return run
            elif (self._playground.marks / run.run_id / f"1-{script.algorithms[script.at]}.begun").exists():
                return run
        return None

    def _delete_pod(self, run: Run, *how: str) -> bool | None:
        return _any([self._kubectl("delete", "pod", pod, *how) for pod in self._pods(run)])

    def _evict(self, run: Run) -> bool | None:
        namespace = self._playground.cluster_namespace.namespace
        evicted = []
        for pod in self._pods(run):
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
            path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
            evicted.append(self._kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction)))
        return _any(evicted)

    def _kill_worker(self, run: Run) -> bool:
        """The process that trains, and nothing above it."""
        stage = f"/{run.run_id}/stages/train-{self._script.algorithms[self._script.at]}/"
        return _kill(lambda process: any(stage in word for word in process.cmdline()))

    def _kill_run(self, run: Run) -> bool:
        """`python -m job`, the container's main process but for the one that reaps orphans."""

        def is_the_run(process: psutil.Process) -> bool:
            return process.cmdline()[1:] == ["-m", "job"] and run.run_id in process.environ().get("GREGORY_RUN_SPEC", "")

        return _kill(is_the_run)

    def _cancel(self, run: Run) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            done = self._playground.installation.manage("training_runs", "cancel", run.run_id)
            said = done.stdout + done.stderr
            if done.returncode == 0 or "end is not observed yet" in said:
                return True
            if "has already ended" in said:
                return False
            time.sleep(0.5)
        raise AssertionError(f"{run.run_id} could not be cancelled: {said}")

    def _suspend(self, run: Run) -> bool | None:
        suspended = self._set_suspended(run, suspended=True)
        if suspended is not False:
            time.sleep(self._script.pause)
            self._set_suspended(run, suspended=False)
        return suspended

    def _set_suspended(self, run: Run, *, suspended: bool) -> bool | None:
        patch = json.dumps({"spec": {"suspend": suspended}})
        return self._kubectl("patch", "job", run.external_name, "--type=merge", "-p", patch)

    def _pods(self, run: Run) -> list[str]:
        selector = f"gregory-train/run-id={run.run_id}"
        names: list[str] = []

        def listed() -> bool:
            done = self._playground.cluster.kubectl(
                "get",
                "pods",
                "--namespace",
                self._playground.cluster_namespace.namespace,
                "--selector",
                selector,
                "--output=name",
                timeout=10,
            )
            names[:] = [name.removeprefix("pod/") for name in done.stdout.split()]
            return done.returncode == 0

        _until(listed)
        return names

    def _kubectl(self, *arguments: str, input: str | None = None) -> bool | None:
        """Whether it was done; False where what it is about is gone, None where that may be because an answer was lost."""
        answers: list[bool | None] = []
        lost = False

        def asked() -> bool:
            nonlocal lost
            namespace = self._playground.cluster_namespace.namespace
            done = self._playground.cluster.kubectl(*arguments, "--namespace", namespace, timeout=15, input=input)
            if done.returncode == 0:
                answers.append(True)
            elif any(word in done.stderr for word in ("NotFound", "not found", "is invalid", "Conflict")):
                answers.append(None if lost else False)
            lost = True
            return bool(answers)

        _until(asked)
        return answers[0]


def _any(answers: list[bool | None]) -> bool | None:
    """The most that is known of several."""
    return True if True in answers else None if None in answers else False


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError("the API server did not come back")
        time.sleep(0.3)


def _kill(wanted: Callable[[psutil.Process], bool]) -> bool:
    """Whether such a process was there."""
    killed = False
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if wanted(process):
                process.send_signal(signal.SIGKILL)
                killed = True
    return killed
