"""Faults of one run, as its script defines them. Requests are repeated until API server or database answer."""

import json
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tools.chaos.chaos_env import ChaosEnv, Run
from tools.chaos.script import Fault, Script

POLL_SECONDS = 0.1
# Limit for a whole run, with its time in the queue.
TIMEOUT_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """struck: whether the fault had a target. None: unknown, because the API server's response was lost."""

    script: Script
    struck: bool | None


class Striker:
    """Strikes one run. latest: the newest known row of the run, by its label."""

    def __init__(self, chaos_env: ChaosEnv, script: Script, latest: Callable[[str], Run | None]) -> None:
        self._env = chaos_env
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
        """Wait for the scripted moment, then apply the fault."""
        script = self._script
        if script.fault is Fault.NONE:
            return Strike(script=script, struck=False)
        run = self._wait()
        if run is None:
            return Strike(script=script, struck=False)
        time.sleep(script.delay)
        return Strike(script=script, struck=self._do[script.fault](run))

    def _wait(self) -> Run | None:
        """Wait until the run reaches the scripted point. None: it ended before."""
        script, deadline = self._script, time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            run = self._latest(script.label)
            if run is None:
                continue
            if run.is_final:
                return None
            if script.at < 0:
                if run.external_name.startswith("gregory-train-"):
                    return run
            elif (self._env.marks / run.run_id / f"1-{script.algorithms[script.at]}.begun").exists():
                return run
        return None

    def _delete_pod(self, run: Run, *how: str) -> bool | None:
        return _any([self._kubectl("delete", "pod", pod, *how) for pod in self._pods(run)])

    def _evict(self, run: Run) -> bool | None:
        namespace = self._env.cluster_namespace.namespace
        evicted = []
        for pod in self._pods(run):
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
            path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
            evicted.append(self._kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction)))
        return _any(evicted)

    def _kill_worker(self, run: Run) -> bool:
        """Kill the training process alone."""
        stage = f"/{run.run_id}/stages/train-{self._script.algorithms[self._script.at]}/"
        return _kill(lambda process: any(stage in word for word in process.cmdline()))

    def _kill_run(self, run: Run) -> bool:
        """Kill `python -m job`, the only child of the container's init process."""

        def is_the_run(process: psutil.Process) -> bool:
            return process.cmdline()[1:] == ["-m", "job"] and run.run_id in process.environ().get("GREGORY_RUN_SPEC", "")

        return _kill(is_the_run)

    def _cancel(self, run: Run) -> bool:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            done = self._env.installation.manage("training_runs", "cancel", run.run_id)
            output = done.stdout + done.stderr
            if done.returncode == 0 or "end is not observed yet" in output:
                return True
            # The run ended before the command, or during it.
            if "has already ended" in output or "has ended, or has another attempt" in output:
                return False
            time.sleep(0.5)
        raise AssertionError(f"{run.run_id} could not be cancelled: {output}")

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
            done = self._env.cluster.kubectl(
                "get",
                "pods",
                "--namespace",
                self._env.cluster_namespace.namespace,
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
        """Run kubectl until the API server answers.

        True: done. False: the object is gone. None: gone, perhaps through this command, whose first response was lost.
        """
        answers: list[bool | None] = []
        lost = False

        def asked() -> bool:
            nonlocal lost
            namespace = self._env.cluster_namespace.namespace
            done = self._env.cluster.kubectl(*arguments, "--namespace", namespace, timeout=15, input=input)
            if done.returncode == 0:
                answers.append(True)
            elif any(word in done.stderr for word in ("NotFound", "not found", "is invalid", "Conflict")):
                answers.append(None if lost else False)
            lost = True
            return bool(answers)

        _until(asked)
        return answers[0]


def _any(answers: list[bool | None]) -> bool | None:
    """True if any answer is true, else None if any is unknown, else False."""
    return True if True in answers else None if None in answers else False


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError("the API server did not come back")
        time.sleep(0.3)


def _kill(wanted: Callable[[psutil.Process], bool]) -> bool:
    """Send SIGKILL to every matching process. Returns whether there was one."""
    killed = False
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if wanted(process):
                process.send_signal(signal.SIGKILL)
                killed = True
    return killed
