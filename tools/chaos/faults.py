"""Faults of one run, as its script defines them. Requests are repeated until API server or database answer."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from tools.chaos import processes
from tools.chaos.answers import CANCEL, KUBECTL, Answers, merged
from tools.chaos.chaos_env import ChaosEnv
from tools.chaos.networks import pod_without
from tools.chaos.processes import Kind
from tools.chaos.records import Run, Strike
from tools.chaos.script import PAUSING, Blow, Fault, Script

POLL_SECONDS = 0.1
# Limit for a request.
REQUEST_SECONDS = 600.0
ATTEMPTS = range(1, 7)


class Striker:
    """Strikes one run. latest: the newest known row of the run, by its label. over: no fault is wanted any more."""

    def __init__(self, chaos_env: ChaosEnv, script: Script, latest: Callable[[str], Run | None], over: threading.Event) -> None:
        self._env = chaos_env
        self._over = over
        self._script = script
        self._latest = latest
        self._do: dict[Fault, Callable[[Run, Blow, ExitStack], bool | None]] = {
            Fault.POD_DELETED: lambda run, *_: self._delete_pod(run, "--wait=false"),
            Fault.POD_REMOVED: lambda run, *_: self._delete_pod(run, "--grace-period=0", "--force"),
            Fault.EVICTED: lambda run, *_: self._evict(run),
            Fault.WORKER_KILLED: lambda run, *_: processes.send(self._workers(run), signal.SIGKILL),
            Fault.RUN_KILLED: lambda run, *_: processes.send(processes.of_run(run.run_id, Kind.SUPERVISOR), signal.SIGKILL),
            Fault.CONTAINER_KILLED: lambda run, *_: processes.send(processes.of_run(run.run_id, Kind.INIT), signal.SIGKILL),
            Fault.SHIM_KILLED: lambda run, *_: self._kill_shim(run),
            Fault.JOB_DELETED: lambda run, *_: self._kubectl("delete", "job", self._latest_of(run).external_name, "--wait=false"),
            Fault.CANCELLED: lambda run, *_: self._cancel(run),
            Fault.SUSPENDED: lambda run, blow, _: self._suspend(run, blow),
            Fault.RUN_STOPPED: lambda run, _, undo: _pause(processes.of_run(run.run_id, Kind.SUPERVISOR), undo),
            Fault.WORKER_STOPPED: lambda run, _, undo: _pause(self._workers(run), undo),
            Fault.CUT_OFF: lambda run, _, undo: self._cut_off(run, undo),
        }

    def strike(self) -> list[Strike]:
        """Wait for the scripted moments and apply the faults. One strike for each fault of the script."""
        blows = self._script.blows
        if not blows:
            return []
        first, *others = blows
        run = self._wait(first)
        if run is None:
            return [Strike(blow=blow, struck=False) for blow in blows]
        time.sleep(first.delay)
        strikes = []
        with ExitStack() as undo:
            strikes.append(self._struck(run, first, undo))
            if first.fault in PAUSING and strikes[0].struck:
                time.sleep(first.pause / 2)
                strikes += [self._struck(run, blow, undo) for blow in others]
                time.sleep(first.pause / 2)
        strikes[0] = replace(strikes[0], ended=time.time())
        for blow in others[len(strikes) - 1 :]:
            if self._wait_for_next_training(run, after=strikes[-1].ended):
                time.sleep(min(blow.delay, 0.5))
                with ExitStack() as undo:
                    strikes.append(self._struck(run, blow, undo))
            else:
                strikes.append(Strike(blow=blow, struck=False))
        return strikes

    def _struck(self, run: Run, blow: Blow, undo: ExitStack) -> Strike:
        began, attempt = time.time(), self._attempt(run)
        struck = self._do[blow.fault](run, blow, undo)
        self._env.note(f"{self._script.label} {run.run_id} attempt {attempt}: {blow.fault}, struck: {struck}")
        return Strike(blow=blow, struck=struck, began=began, ended=time.time(), attempt=attempt)

    def _wait(self, blow: Blow) -> Run | None:
        """Wait until the run reaches the scripted point. None: it ended before."""
        while not self._over.wait(POLL_SECONDS):
            run = self._latest(self._script.label)
            if run is None:
                continue
            if run.is_final:
                return None
            if blow.at < 0:
                if run.external_name.startswith("gregory-train-"):
                    return run
            elif any(mark.exists() for mark in self._marks(run, self._script.algorithms[blow.at])):
                return run
        return None

    def _wait_for_next_training(self, run: Run, *, after: float) -> bool:
        while not self._latest_of(run).is_final and not self._over.wait(POLL_SECONDS):
            for mark in (mark for algorithm in self._script.algorithms for mark in self._marks(run, algorithm)):
                if mark.exists() and mark.stat().st_mtime > after:
                    return True
        return False

    def _marks(self, run: Run, algorithm: str) -> list[Path]:
        return [self._env.marks / run.run_id / f"{attempt}-{algorithm}.begun" for attempt in ATTEMPTS]

    def _attempt(self, run: Run) -> int:
        """The newest attempt that the rows or the marks have."""
        begun = (mark.name.partition("-")[0] for mark in (self._env.marks / run.run_id).glob("*.begun"))
        return max([self._latest_of(run).attempt, *map(int, begun)])

    def _latest_of(self, run: Run) -> Run:
        return self._latest(self._script.label) or run

    def _workers(self, run: Run) -> list[processes.Process]:
        return [one for one in processes.of_run(run.run_id, Kind.STAGE) if one.stage.startswith("train-")]

    def _kill_shim(self, run: Run) -> bool:
        """Kill the shim of the pod, the parent of the container's first process."""
        shims = {one.parent for one in processes.of_run(run.run_id, Kind.INIT) if "shim" in psutil.Process(one.parent).name()}
        for pid in shims:
            psutil.Process(pid).kill()
        return bool(shims)

    def _cut_off(self, run: Run, undo: ExitStack) -> bool:
        found = processes.of_run(run.run_id, Kind.INIT)
        for one in found:
            undo.enter_context(pod_without(one.pid, self._env.cluster.host, self._env.server.port))
        return bool(found)

    def _delete_pod(self, run: Run, *how: str) -> bool | None:
        return merged([self._kubectl("delete", "pod", pod, *how) for pod in self._pods(run)])

    def _evict(self, run: Run) -> bool | None:
        namespace = self._env.cluster_namespace.namespace
        evicted = []
        for pod in self._pods(run):
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
            path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
            evicted.append(self._kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction)))
        return merged(evicted)

    def _cancel(self, run: Run) -> bool | None:
        answers = Answers(CANCEL)

        def asked() -> bool:
            try:
                done = self._env.installation.manage("training_runs", "cancel", run.run_id)
            except subprocess.TimeoutExpired:
                answers.add(1, "no answer")
            else:
                answers.add(done.returncode, done.stdout + done.stderr, again=not self._latest_of(run).is_final)
            return answers.complete

        _until(asked, what=f"the cancellation of {run.run_id}")
        return answers.done

    def _suspend(self, run: Run, blow: Blow) -> bool | None:
        suspended = self._set_suspended(run, suspended=True)
        if suspended is not False:
            time.sleep(blow.pause)
            self._set_suspended(run, suspended=False)
        return suspended

    def _set_suspended(self, run: Run, *, suspended: bool) -> bool | None:
        patch = json.dumps({"spec": {"suspend": suspended}})
        return self._kubectl("patch", "job", self._latest_of(run).external_name, "--type=merge", "-p", patch)

    def _pods(self, run: Run) -> list[str]:
        selector = ("--selector", f"gregory-train/run-id={run.run_id}")
        names: list[str] = []

        def listed() -> bool:
            done = self._env.cluster.kubectl(
                "get", "pods", "--namespace", self._env.cluster_namespace.namespace, *selector, "--output=name", timeout=10
            )
            names[:] = [name.removeprefix("pod/") for name in done.stdout.split()]
            return done.returncode == 0

        _until(listed, what="the list of pods")
        return names

    def _kubectl(self, *arguments: str, input: str | None = None) -> bool | None:
        """Run kubectl until the API server answers. The result is as in `Answers`."""
        answers = Answers(KUBECTL)

        def asked() -> bool:
            namespace = self._env.cluster_namespace.namespace
            done = self._env.cluster.kubectl(*arguments, "--namespace", namespace, timeout=15, input=input)
            answers.add(done.returncode, done.stdout + done.stderr)
            return answers.complete

        _until(asked, what=f"kubectl {' '.join(arguments[:3])}")
        return answers.done


def _pause(found: list[processes.Process], undo: ExitStack) -> bool:
    """Stop processes until the end of the block."""
    undo.callback(processes.send, found, signal.SIGCONT)
    return processes.send(found, signal.SIGSTOP)


def _until(done: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + REQUEST_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"no answer within {REQUEST_SECONDS:.0f} s: {what}")
        time.sleep(0.3)
